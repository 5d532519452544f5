"""What the core asks of its shell. Closed union `Effect`.

The steps of the work (`Download` … `Clean`) are carried out one at a time, in the order given. `Abort` asks
the one that is being carried out to end soon; what it still reports is then ignored by the core.
"""

from enum import StrEnum

import msgspec

from agent.core.model import Work
from protocol.ids import AppName, RunId
from protocol.messages import Hello, Report, Tick


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What all effects share: frozen."""


class SayHello(Asked, frozen=True, kw_only=True):
    """Sign and publish this hello, at once and once."""

    hello: Hello


class FileReport(Asked, frozen=True, kw_only=True):
    """Sign this report and keep it in the outbox until it is dropped."""

    report: Report


class DropReports(Asked, frozen=True, kw_only=True):
    """Remove these reports from the outbox: the controller has stored or finally refused them."""

    report_seqs: tuple[int, ...]


class SendTick(Asked, frozen=True, kw_only=True):
    """Publish this progress once, unsigned, QoS 0."""

    tick: Tick


class RefreshReleases(Asked, frozen=True, kw_only=True):
    """Fetch the release file anew, then feed `ReleasesRefreshed`, whatever came of it."""


class Reconnect(Asked, frozen=True, kw_only=True):
    """Give this connection up and make a new one: its hello stays unanswered."""


class Step(Asked, frozen=True, kw_only=True):
    """One step of the work in hand; ends with a `Finished` that names the work's phase."""

    work: Work


class Download(Step, frozen=True, kw_only=True):
    """Fetch and stage every release; resumable; emits `Progressed`."""


class Install(Step, frozen=True, kw_only=True):
    """Activate every release. The irreversible step: asked at most once for one attempt."""


class Inspect(Step, frozen=True, kw_only=True):
    """Ask the installer what is active after a crash; ends with `Inspected`."""


class Verify(Step, frozen=True, kw_only=True):
    """Probe what was installed."""


class Commit(Step, frozen=True, kw_only=True):
    """Make the new releases final; idempotent."""


class RollBack(Step, frozen=True, kw_only=True):
    """Go back to what was active before; idempotent, and right also where nothing was changed."""


class Clean(Asked, frozen=True, kw_only=True):
    """Remove staged files of every work; asked when none is in hand. Reports nothing."""


class WatchOver(Asked, frozen=True, kw_only=True):
    """Look after the health of these apps from now on, and after that of no others; what is bad becomes `Ailed`."""

    apps: tuple[AppName, ...]


class Measure(Asked, frozen=True, kw_only=True):
    """Read what these apps tell of themselves now; ends with `Measured`, which names the attempt that is watched."""

    run: RunId
    attempt: int
    apps: tuple[AppName, ...]


class Abort(Asked, frozen=True, kw_only=True):
    """Ask the step that is being carried out to end soon."""


class AlarmKind(StrEnum):
    """What was odd enough to be counted and logged."""

    UNTRUSTED_ANSWER = "untrusted_answer"
    FOREIGN_ANSWER = "foreign_answer"
    UNASKED_REPLY = "unasked_reply"
    TIME_REFUSED = "time_refused"
    STALE_CONTROL_PLANE = "stale_control_plane"
    COMMAND_REFUSED = "command_refused"
    COMMAND_DROPPED = "command_dropped"
    STALE_RESULT = "stale_result"


class Alarm(Asked, frozen=True, kw_only=True):
    """Log and count this."""

    kind: AlarmKind
    detail: str = ""


Effect = (
    SayHello
    | FileReport
    | DropReports
    | SendTick
    | RefreshReleases
    | Reconnect
    | Download
    | Install
    | Inspect
    | Verify
    | Commit
    | RollBack
    | Clean
    | WatchOver
    | Measure
    | Abort
    | Alarm
)
