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
PICKY: Final = "1.3.0"
UNFIT: Final = "kiosk-3"
"""The hardware model on which `PICKY` does not start properly."""


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
        quarantines: the hardware model that is kept out, and does not have the version in the end; None: no one is.
        exposes_max: how many devices may come to install a release that is bad for them; 0: none is.
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
    quarantines: str | None = None
    exposes_max: int = 0


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
    exposes_max=8,
)
BRANCH_STOPS: Final = Scene(
    title=f"a release that is bad in region {SPOILT} alone: that branch stops, the other goes on to its end",
    version=REGIONAL,
    job="harbour-branches",
    floor=1,  # the bad release lies between: what this one replaces is the good one
    ends=RunState.FAILED,
    verdicts={"eu": StageState.PASSED, SPOILT: StageState.FAILED, "apac": StageState.CANCELLED},
    reaches={REGION: "eu"},
    exposes_max=8,
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
MODEL_LEFT_OUT: Final = Scene(
    title=f"a release that is bad on model {UNFIT} alone: that model is quarantined, the others go on to the end",
    version=PICKY,
    job="harbour-models",
    ends=RunState.SUCCEEDED,
    verdicts={"all": StageState.PASSED},
    reaches={},
    quarantines=UNFIT,
    exposes_max=20,
)
SCENES: Final = (ALL_GO, CANARY_STOPS, BRANCH_STOPS, TAKEN_BACK, MODEL_LEFT_OUT)
FAILING: Final = (BAD, f"{REGIONAL}@{REGION}={SPOILT}", f"{PICKY}@model={UNFIT}")
"""What the simulated devices must fail, as `tidegate simulate --fail-version` takes it."""
