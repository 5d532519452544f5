"""Something of devices has changed that runs ask about: whoever changes it lets all runs look again, here.

The rules this module keeps:

1. Whom a run refused is judged anew, for the reason may be gone.
2. Who has come to match an open stage that includes new devices joins it, behind those that wait there.
3. Who tells of a change has made it before the transaction's `Advance` begins: where the controller was away, runs go
   on as soon as one begins, and take what is true then.
4. The run of highest priority takes both steps before the others: so a device goes to the run that has first call on
   it, whether it waits there or has just joined.
"""

from collections.abc import Collection, Mapping

from controller.app.advance import Advance, in_order
from controller.app.joining import join
from controller.domain.events import Event, Woken

NOTHING: Mapping[int, Event] = {}


def notice(
    advance: Advance, changed: Collection[int], *, online: Collection[int] = (), besides: Mapping[int, Event] = NOTHING
) -> None:
    """Let runs look again at devices that have *changed*, and at those that are *online* by what they have just said.

    Who says hello may join even if nothing has changed: a stage that stood still when it did may be open again.

    Args:
        advance: the work of this transaction.
        changed: ids of devices of which something is other than before.
        online: ids of devices that are connected.
        besides: what the same transaction lets happen to runs, by their ids.
    """
    device_ids = {*changed, *online}
    events = {**dict.fromkeys(_waiting(advance, changed, online), Woken(at=advance.at)), **besides}
    open_ids = {record.id for record in advance.open_to_newcomers()} if device_ids else set()
    known = advance.tx.devices.candidates(device_ids) if open_ids else []
    for run_id in in_order(advance, {*events, *open_ids}):
        if run_id in events:
            advance.run(run_id, events[run_id])
        if run_id in open_ids:
            join(advance, run_id, known)


def _waiting(advance: Advance, changed: Collection[int], online: Collection[int]) -> list[int]:
    """Have queued rows of devices judged anew and be ready; return the ids of the runs that have such rows."""
    targets = advance.tx.targets
    judged = targets.unblock(changed) if changed else []
    ready = targets.set_ready(online, advance.controller.transport.instance) if online else []
    return [*judged, *ready]
