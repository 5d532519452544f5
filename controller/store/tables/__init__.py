"""The tables, as SQLAlchemy Core metadata. Times are milliseconds since 1970; every change needs a migration.

The rules this module keeps:

1. Keys inside are integers; text ids are for the edge.
2. `target_run.id` is ``stage_id << 32 | position``, so that the rows at work are neighbours on disk.
3. What must never be twice has a unique index: a job's active run, work on a device, a stored report.
4. Every query of a hot path has an index, most of them partial: rows that are over cost no index entry.
"""

from controller.store.tables.credentials import claim as claim
from controller.store.tables.credentials import token as token
from controller.store.tables.definitions import channel as channel
from controller.store.tables.definitions import job as job
from controller.store.tables.definitions import pipeline as pipeline
from controller.store.tables.definitions import release as release
from controller.store.tables.definitions import release_document as release_document
from controller.store.tables.definitions import upgrade_path as upgrade_path
from controller.store.tables.devices import AGENT as AGENT
from controller.store.tables.devices import device as device
from controller.store.tables.devices import device_app as device_app
from controller.store.tables.devices import device_fact as device_fact
from controller.store.tables.devices import device_group as device_group
from controller.store.tables.devices import device_hold as device_hold
from controller.store.tables.devices import device_label as device_label
from controller.store.tables.devices import device_pin as device_pin
from controller.store.tables.devices import fleet as fleet
from controller.store.tables.devices import fleet_group as fleet_group
from controller.store.tables.log import answer as answer
from controller.store.tables.log import audit as audit
from controller.store.tables.log import heartbeat as heartbeat
from controller.store.tables.log import report as report
from controller.store.tables.log import security_event as security_event
from controller.store.tables.parts import BAD_ENDS as BAD_ENDS
from controller.store.tables.parts import OPEN_COMMANDS as OPEN_COMMANDS
from controller.store.tables.parts import metadata as metadata
from controller.store.tables.runs import COUNTERS as COUNTERS
from controller.store.tables.runs import TALLY as TALLY
from controller.store.tables.runs import event as event
from controller.store.tables.runs import moment as moment
from controller.store.tables.runs import run as run
from controller.store.tables.runs import run_plan as run_plan
from controller.store.tables.runs import stage_run as stage_run
from controller.store.tables.targets import command as command
from controller.store.tables.targets import is_admissible as is_admissible
from controller.store.tables.targets import is_at_site as is_at_site
from controller.store.tables.targets import is_at_work as is_at_work
from controller.store.tables.targets import is_kept_out as is_kept_out
from controller.store.tables.targets import is_open as is_open
from controller.store.tables.targets import is_open_control as is_open_control
from controller.store.tables.targets import is_queued as is_queued
from controller.store.tables.targets import is_unpaired as is_unpaired
from controller.store.tables.targets import is_unsent as is_unsent
from controller.store.tables.targets import is_watched as is_watched
from controller.store.tables.targets import target_run as target_run
from controller.store.tables.tenant import freeze as freeze
from controller.store.tables.tenant import standstill as standstill
