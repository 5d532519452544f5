"""Why a run is held and why a stage has its verdict, in the words that other layers know them by."""

from typing import Final

from controller.domain.events import Effect, Hold, Note
from controller.domain.model import Run, run_changed
from controller.domain.states import RunState
from protocol.ids import StageName
from protocol.units import Instant

BREACH: Final = "breach:"
RAMP: Final = "ramp:"
CRASHES: Final = "crashes:"
METRIC: Final = "metric:"
TELEMETRY: Final = "telemetry:"
STOP_EVERYTHING: Final = "stop-everything"
"""The pause reason of every run while everything is stopped."""
NOBODY_LEFT: Final = "no device of the earlier run is left for it"


def breach_of(stage: StageName) -> str:
    """Return the pause reason of a breached gate."""
    return f"{BREACH}{stage}"


def crashes_of(stage: StageName) -> str:
    """Return the pause reason of a stage whose updated devices crash more than those that are held back."""
    return f"{CRASHES}{stage}"


def metric_of(stage: StageName, name: str) -> str:
    """Return the pause reason of a stage on whose updated devices a metric is worse than on those held back."""
    return f"{METRIC}{stage}:{name}"


def hold_of(stage: StageName) -> str:
    """Return the pause reason of a ramp that has nothing left to risk."""
    return f"{RAMP}{stage}"


def telemetry_of(stage: StageName) -> str:
    """Return the pause reason of a stage whose silence says more of us than of its devices."""
    return f"{TELEMETRY}{stage}"


def paused(run: Run, reason: str, at: Instant, *, by: str = "", evidence: str = "") -> tuple[Run, tuple[Effect, ...]]:
    """Return *run* held for *reason*; holding it twice for one reason is once, and only the first raises the epoch."""
    if run.state is not RunState.RUNNING or reason in run.pause_reasons:
        return run, ()
    note = Note(kind="paused", text=reason, by=by, evidence=evidence)
    reasons = (*run.pause_reasons, reason)
    if run.is_paused:
        return run_changed(run, pause_reasons=reasons), (note,)
    held = run_changed(run, pause_reasons=reasons, epoch=run.epoch + 1, clock=run.clock.stopped(at))
    return held, (Hold(), note)
