"""Runs: started, paused, resumed, terminated, promoted, and looked at.

Every verb answers after its commit and after the fence is raised: once a pause or termination is answered, no
command of the run is handed to a transport.
"""

from controller.app.runs.control import pause as pause
from controller.app.runs.control import promote as promote
from controller.app.runs.control import readmit as readmit
from controller.app.runs.control import resume as resume
from controller.app.runs.control import skip as skip
from controller.app.runs.control import terminate as terminate
from controller.app.runs.lookup import find as find
from controller.app.runs.lookup import require_running as require_running
from controller.app.runs.lookup import stage_index as stage_index
from controller.app.runs.reading import event_view as event_view
from controller.app.runs.reading import events as events
from controller.app.runs.reading import get as get
from controller.app.runs.reading import list_runs as list_runs
from controller.app.runs.reading import targets as targets
from controller.app.runs.starting import NOTHING_GIVEN as NOTHING_GIVEN
from controller.app.runs.starting import begin as begin
from controller.app.runs.starting import require_free as require_free
from controller.app.runs.starting import require_startable as require_startable
from controller.app.runs.starting import start as start
