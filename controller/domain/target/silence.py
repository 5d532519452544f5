"""A device that is offline for too long after its success counts against the build, as a bad mark does.

The rules this module keeps:

1. Who succeeds is watched for as long as its stage soaks, from its own success on, where its gate asks for that.
2. Offline for so long within that time, it is silent: it blames the build once, and that is never taken back.
3. A silence that would be complete only after that time does not count, and is not waited for.
4. Of who told a bad mark nothing more is to be learned: it is not watched.
5. Who is excused is given as much time again, and is watched for a whole soak from then on.
6. Unseen, after a start of the controller or a fault of the transport, a device has twice as long, since it may wait
   before it dials again; whoever was away by then, too.
7. Who is shut out is watched no more, also if it comes back.
"""

from typing import assert_never

import msgspec

from controller.domain.target.events import CameOnline, Excused, Seeing, ShutOut, Unseen, WentOffline
from controller.domain.target.model import Policy, Target, TargetState


def watched(target: Target, at: int, policy: Policy) -> Target:
    """Return the target after the end of an attempt at run time *at*: watched, if it has succeeded."""
    if policy.silent_after_ms is None or target.state is not TargetState.SUCCEEDED or target.is_unwell:
        return target
    return msgspec.structs.replace(target, watched_until=at + policy.soak_ms)


def unwatched(target: Target) -> Target:
    """Return the target watched no more; while it is at work its deadline is another one."""
    if target.watched_until is None:
        return target
    return msgspec.structs.replace(target, watched_until=None, due=None)


def seen(target: Target, event: Seeing, policy: Policy) -> Target:
    """Return a target after it was seen to come or go; who is not watched may do either."""
    if target.watched_until is None or policy.silent_after_ms is None:
        return target
    due = event.at + policy.silent_after_ms
    match event:
        case CameOnline():
            is_over = event.at >= target.watched_until
            return unwatched(target) if is_over else msgspec.structs.replace(target, due=None)
        case WentOffline():
            is_counting = target.due is not None or due > target.watched_until
            return target if is_counting else msgspec.structs.replace(target, due=due)
        case Unseen():
            twice = due + policy.silent_after_ms
            return msgspec.structs.replace(target, due=None if twice > target.watched_until else twice)
        case Excused():
            until = max(target.watched_until, event.at + policy.soak_ms)
            return msgspec.structs.replace(target, due=due, watched_until=until)
        case ShutOut():
            return unwatched(target)
        case _:
            assert_never(event)


def fallen_silent(target: Target) -> Target:
    """Return a target that has been offline for too long."""
    return msgspec.structs.replace(unwatched(target), is_silent=True, is_started=True, is_blamed=True)
