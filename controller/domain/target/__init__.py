"""One device in one run: its states, its attempts, and what each event makes of it.

The rules this module keeps:

1. `step` is total: nothing a device says makes it raise. What does not fit is an `Anomaly` and changes nothing.
2. A terminal state absorbs; a late success is noted and moves no counter. Only a control device begins anew after it.
3. A report of another attempt than the current one never changes the current one.
4. What a device tells of its release after a success is a mark beside the state (`controller.domain.target.health`),
   and so is that it is offline for too long (`controller.domain.target.silence`). Numbers that it tells are kept until
   they are compared (`controller.domain.target.measures`).
5. A new attempt begins only after the last one's terminal report or the end of its lease, within the budget.

`at` and `due` are in the run's own time (`controller.domain.clock`).
"""

from controller.domain.target.events import Anomaly as Anomaly
from controller.domain.target.events import CameOnline as CameOnline
from controller.domain.target.events import CancelRequested as CancelRequested
from controller.domain.target.events import Continued as Continued
from controller.domain.target.events import Discharged as Discharged
from controller.domain.target.events import DueReached as DueReached
from controller.domain.target.events import Effect as Effect
from controller.domain.target.events import Event as Event
from controller.domain.target.events import Excused as Excused
from controller.domain.target.events import GivenUp as GivenUp
from controller.domain.target.events import Marked as Marked
from controller.domain.target.events import Measured as Measured
from controller.domain.target.events import RecallHeard as RecallHeard
from controller.domain.target.events import RefusedCommand as RefusedCommand
from controller.domain.target.events import Reissue as Reissue
from controller.domain.target.events import Reissued as Reissued
from controller.domain.target.events import Released as Released
from controller.domain.target.events import Removed as Removed
from controller.domain.target.events import Reported as Reported
from controller.domain.target.events import Returned as Returned
from controller.domain.target.events import Seeing as Seeing
from controller.domain.target.events import Seen as Seen
from controller.domain.target.events import ShutOut as ShutOut
from controller.domain.target.events import Suspended as Suspended
from controller.domain.target.events import Ticked as Ticked
from controller.domain.target.events import Told as Told
from controller.domain.target.events import Unseen as Unseen
from controller.domain.target.events import WentOffline as WentOffline
from controller.domain.target.machine import IDLE_MS as IDLE_MS
from controller.domain.target.machine import RECALL_MS as RECALL_MS
from controller.domain.target.machine import Outcome as Outcome
from controller.domain.target.machine import backoff_ms as backoff_ms
from controller.domain.target.machine import is_suspended as is_suspended
from controller.domain.target.machine import is_unaccepted as is_unaccepted
from controller.domain.target.machine import step as step
from controller.domain.target.measures import paired as paired
from controller.domain.target.model import TRANSITIONS as TRANSITIONS
from controller.domain.target.model import Delta as Delta
from controller.domain.target.model import Measures as Measures
from controller.domain.target.model import Policy as Policy
from controller.domain.target.model import Target as Target
from controller.domain.target.model import TargetState as TargetState
from controller.domain.target.model import delta as delta
from controller.domain.target.model import is_at_risk as is_at_risk
from controller.domain.target.model import is_crashed as is_crashed
