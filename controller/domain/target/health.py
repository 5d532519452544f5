"""What a device tells of its release after the success: a mark counts against the build, and changes no state.

The rules this module keeps:

1. The first bad mark blames the build; it is never taken back, and no later one adds to it.
2. A bad mark counts whatever became of the attempt since: a device tells one only of a release that it made final, so
   the success may still be on its way, or have come too late.
3. That a watch ended early says least: it gives way to any other mark, in whichever order they come. A device may tell
   it of one attempt, and tell of the next that all is well.
4. Who is not asked to watch tells nothing that counts.
5. In a stage with control devices a mark blames nobody: it is compared (`controller.domain.control`), and only that of
   the newest attempt says that a watch is over. What a device tells of its time as a control device is of no build.
"""

import msgspec

from controller.domain.target import silence
from controller.domain.target.events import Anomaly, Effect, Marked
from controller.domain.target.model import Policy, Target
from protocol.health import Mark


def marked(target: Target, event: Marked, policy: Policy) -> tuple[Target, tuple[Effect, ...]]:
    """Return the target after a mark."""
    if not policy.watch_ms:
        return target, (Anomaly(kind="mark_unasked"),)
    if not 1 <= event.attempt <= target.attempt:
        return target, (Anomaly(kind="mark_of_no_attempt"),)
    if event.attempt <= target.watches or (target.is_compared and _is_outdated(target, event)):
        return target, ()
    if target.is_unwell or not (event.mark.is_bad or target.health in {None, Mark.ENDED}):
        return target, ()
    told = msgspec.structs.replace(target, health=event.mark, health_detail=event.detail)
    return (_blamed(told) if event.mark.is_bad and not target.is_compared else told), ()


def _is_outdated(target: Target, event: Marked) -> bool:
    return event.attempt != target.attempt and not event.mark.is_bad


def _blamed(target: Target) -> Target:
    return silence.unwatched(msgspec.structs.replace(target, is_started=True, is_blamed=True))
