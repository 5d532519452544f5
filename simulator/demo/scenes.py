"""What the demo plays, as a table: one run after the other, and what must come of each."""

from collections.abc import Mapping
from typing import Final

import msgspec

from controller.domain.states import RunState, StageState

APP: Final = "harbour"
GOOD: Final = "1.0.0"
BAD: Final = "1.1.0"
REGIONAL: Final = "1.2.0"
REGION: Final = "region"
SPOILT: Final = "us"
"""The region in which `REGIONAL` does not start properly."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One run, and how it must end. One that `takes_back` undoes the run of the scene before it.

    Attributes:
        title: what is to be seen.
        version: what is rolled out.
        job: by which job, which has the name of its pipeline and of that one's file.
        left_out: files that the release lacks.
        floor: the lowest counter to which a device that has it may go back; None: that of the release before it.
        promotes: the stages that a person opens.
        holds: why an operator holds one device until all others are through; None: nobody does.
        ends: the run.
        verdicts: of each stage.
        reaches: the labels of the devices that have the version in the end, or None where no device may.
    """

    title: str
    version: str
    job: str
    left_out: frozenset[str] = frozenset()
    floor: int | None = None
    takes_back: bool = False
    promotes: tuple[str, ...] = ()
    holds: str | None = None
    ends: RunState
    verdicts: Mapping[str, StageState]
    reaches: Mapping[str, str] | None


ALL_GO: Final = Scene(
    title="a good release goes all the way: a canary, two regions in parallel, the rest, and one on hold at last",
    version=GOOD,
    job="harbour",
    promotes=("canary",),
    holds="on show at the fair",
    ends=RunState.SUCCEEDED,
    verdicts=dict.fromkeys(("canary", "eu", "us", "rest"), StageState.PASSED),
    reaches={},
)
CANARY_STOPS: Final = Scene(
    title="a bad release is stopped by the gate of its canary",
    version=BAD,
    job="harbour",
    left_out=frozenset({"harbours.json"}),
    promotes=("canary",),
    ends=RunState.FAILED,
    verdicts={"canary": StageState.FAILED, **dict.fromkeys(("eu", "us", "rest"), StageState.CANCELLED)},
    reaches=None,
)
BRANCH_STOPS: Final = Scene(
    title=f"a release that is bad in region {SPOILT} alone: that branch stops, the other goes on to its end",
    version=REGIONAL,
    job="harbour-branches",
    floor=1,  # the bad release lies between: what this one replaces is the good one
    ends=RunState.FAILED,
    verdicts={"eu": StageState.PASSED, SPOILT: StageState.FAILED, "apac": StageState.CANCELLED},
    reaches={REGION: "eu"},
)
TAKEN_BACK: Final = Scene(
    title=f"a rollback: whoever has that release goes back to {GOOD}",
    version=GOOD,
    job="harbour-branches",
    takes_back=True,
    ends=RunState.SUCCEEDED,
    verdicts={"rollback": StageState.PASSED},
    reaches={REGION: "eu"},
)
SCENES: Final = (ALL_GO, CANARY_STOPS, BRANCH_STOPS, TAKEN_BACK)
FAILING: Final = (BAD, f"{REGIONAL}@{REGION}={SPOILT}")
"""What the simulated devices must fail, as `tidegate simulate --fail-version` takes it."""
