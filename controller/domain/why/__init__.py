"""Why a device is not updated by a run: facts in, sentences out, the most decisive first.

The rules this module keeps:

1. There is always an answer.
2. What has happened comes before what holds the device up, and that before what does not concern it.
3. Whoever cannot change a fact is told how long it lasts, where that is known.
"""

from controller.domain.target import TargetState
from controller.domain.why.case import Case as Case
from controller.domain.why.case import Rival as Rival
from controller.domain.why.case import Subject as Subject
from controller.domain.why.circumstances import shut_out
from controller.domain.why.fact import Code as Code
from controller.domain.why.fact import Fact as Fact
from controller.domain.why.members import at_work, ended, held_back, quarantined, queued
from controller.domain.why.strangers import stranger


def why(case: Case) -> tuple[Fact, ...]:
    """Return why the device is not updated by the run; never nothing."""
    if case.part is None:
        return (*shut_out(case), *stranger(case))
    if case.part.is_control:
        return (held_back(case), *quarantined(case, case.part), *shut_out(case))
    match case.part.state:
        case TargetState.QUEUED:
            return tuple(queued(case, case.part))
        case TargetState.IN_PROGRESS:
            return tuple(at_work(case, case.part))
        case _:
            return (ended(case, case.part), *quarantined(case, case.part))
