"""How a run over a fleet of processes must end, whatever was done to them."""

from pathlib import Path
from typing import Final

from tests.chaos.history import CHECKS, assert_clean, unsettled
from tests.chaos.world import active_runs, evidence_of
from tests.integration.world import World, until

SETTLE_SECONDS: Final = 90.0


def ends_well(w: World, history: Path, *, run: str, repeat: str, devices: int) -> None:
    """Wait until the run has ended and every device knows that its reports are stored, and judge it all."""
    until(lambda: not active_runs(w), seconds=SETTLE_SECONDS, why=f"the run ends; {repeat}")
    until(
        lambda: not list(unsettled(evidence_of(w, history))),
        seconds=SETTLE_SECONDS,
        why=f"every report is acknowledged; {repeat}",
    )
    assert_clean(evidence_of(w, history), checks=CHECKS, repeat=repeat)
    view, others = w.ended(run), [target for target in w.operator.targets(run) if target.state != "succeeded"]
    assert not others, f"every device succeeds; {repeat}"
    assert (view.state, view.stages[0].counters.succeeded) == ("succeeded", devices), repeat
