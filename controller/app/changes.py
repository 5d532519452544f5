"""Something of devices has changed that runs ask about: whoever changes it lets all runs look again, here.

The rules this module keeps:

1. Whom a run refused is judged anew, for the reason may be gone.
2. Who has come to match an open stage that includes new devices joins it.
3. All that first, and then each run takes one step, that of highest priority before the others: so a device goes to
   the run that has first call on it, whether it waits there or has just joined.
"""

from collections.abc import Collection

from controller.app.advance import Advance, let_happen
from controller.app.joining import take_in
from controller.domain.events import Event, Woken


def notice(advance: Advance, changed: Collection[int], *, online: Collection[int] = ()) -> None:
    """Let runs look again at devices that have *changed*, and at those that are *online* by what they have just said.

    Who says hello may join even if nothing has changed: a stage that stood still when it did may be open again.
    """
    targets, instance = advance.tx.targets, advance.controller.transport.instance
    judged = targets.unblock(changed) if changed else []
    ready = targets.set_ready(online, instance) if online else []
    events: dict[int, Event] = dict.fromkeys([*judged, *ready], Woken(at=advance.at))
    let_happen(advance, events | take_in(advance, {*changed, *online}))
