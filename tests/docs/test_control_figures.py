"""The figures of `docs/how-to/choose-a-gate.md` on control groups are those that the code computes."""

from controller.domain.gates.logrank import Crash, after_crash
from controller.domain.gates.odds import Evidence, threshold
from tests.docs.plots import FOLDER

PAGE = (FOLDER.parent / "how-to" / "choose-a-gate.md").read_text()


def crashes(devices: int, *, share: float, alpha: float) -> int:
    """Return how many updated devices must crash if none does that is held back."""
    held, evidence, count = int(devices * share), Evidence(), 0
    while evidence.log < threshold(alpha):
        evidence = after_crash(evidence, Crash(is_treated=True, treated=devices - held - count, control=held))
        count += 1
    return count


def test_how_many_crashes_stop_a_stage_by_the_share_that_is_held_back() -> None:
    found = [crashes(1_000, share=share, alpha=0.005) for share in (0.05, 0.1, 0.2, 0.5)]
    assert f"| crashes | {' | '.join(map(str, found))} |" in PAGE
