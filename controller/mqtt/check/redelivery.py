"""What becomes of unacknowledged messages when another connection takes a lane's session over.

The first connection hears some of 300 messages and acknowledges six of them; the second one must hear all others.
Ten newer messages tell whether older ones go first. Acknowledgements may overlap with what the broker sends already,
so that a message acknowledged is not expected again, and no harm when it comes.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.mqtt.check.findings import Finding, judged, not_checked, passed
from controller.mqtt.check.peer import Heard, Peer, Refused
from controller.mqtt.check.sessions import SESSION_S
from controller.mqtt.check.site import THIRD, Site

ACKNOWLEDGED: Final = (0, 1, 2, 3, 4, 7)
NEWER: Final = 10
PURPOSE: Final = "redelivery"


def check_redelivery(site: Site) -> Iterator[Finding]:
    """Check what comes again after a takeover."""
    try:
        with site.lane(PURPOSE, site.manner(session_s=SESSION_S, is_acking=False)) as first:
            first.listen(site.uplink(THIRD, "#"))
            _publish(site, range(site.limits.redelivered))
            _acknowledge(site, first)
            began = site.now_s()
            with site.lane(PURPOSE, site.manner(session_s=SESSION_S)) as second:
                newer = range(site.limits.redelivered, site.limits.redelivered + NEWER)
                _publish(site, newer)
                wanted = {*range(site.limits.redelivered + NEWER)} - {*ACKNOWLEDGED}
                second.wait(lambda: wanted <= {_number(heard) for heard in second.heard}, site.limits.redelivery_s)
                heard = list(second.heard)
        yield from _judge(site, heard, sorted(wanted), began)
    finally:
        site.forget(PURPOSE)


def _publish(site: Site, numbers: Sequence[int]) -> None:
    with site.device(THIRD) as device:
        device.publish_all((site.uplink(THIRD, "report"), b"%d" % number) for number in numbers)


def _acknowledge(site: Site, first: Peer) -> None:
    if not first.wait(lambda: {*ACKNOWLEDGED} <= {_number(heard) for heard in first.heard}, site.limits.prompt_s):
        raise Refused(f"a lane that holds its acknowledgements back heard {len(first.heard)} messages")
    for heard in first.heard:
        if _number(heard) in ACKNOWLEDGED:
            first.acknowledge(heard)
    # The broker reads one connection in order: when it has answered this, it has seen the acknowledgements.
    first.publish(site.downlink(THIRD), b"")


def _number(heard: Heard) -> int:
    return int(heard.payload)


def _judge(site: Site, heard: Sequence[Heard], wanted: Sequence[int], began: float) -> Iterator[Finding]:
    numbers = [_number(one) for one in heard]
    lost = [number for number in wanted if number not in set(numbers)]
    found = f"{len(wanted) - len(lost)} of {len(wanted)} came again"
    if lost:
        found += f" within {site.limits.redelivery_s:.0f} s; lost are {ranges(lost)}"
    yield judged("redelivery", found, is_good=not lost)
    again = list(dict.fromkeys(number for number in numbers if number in set(wanted)))
    in_order = again == sorted(again)
    yield judged("redelivery-order", "in order" if in_order else f"out of order: {ranges(again)}", is_good=in_order)
    twice = len(numbers) - len(set(numbers)) + len(set(numbers) & {*ACKNOWLEDGED})
    yield judged("redelivery-twice", f"{twice} came although acknowledged" if twice else "none", is_good=not twice)
    first_heard = {_number(one): one for one in reversed(heard)}
    older = [first_heard[number] for number in (5, 6) if number in first_heard]
    if not older:
        yield from (not_checked(name, "nothing came again") for name in ("redelivery-delay", "redelivery-mark"))
        return
    delay_s = max(first_heard[number].at for number in wanted if number in first_heard) - began
    yield judged("redelivery-delay", f"all within {delay_s:.1f} s", is_good=delay_s < site.limits.prompt_s)
    yield passed("redelivery-mark", "marked" if older[0].is_repeated else "not marked")


def ranges(numbers: Sequence[int], *, most: int = 6) -> str:
    """Return numbers in their order as runs, the first few of them.

    >>> ranges([5, 6, 8, 9, 10, 1])
    '5-6, 8-10, 1'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][-1:] = [number]
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:most]]
    return ", ".join(shown) + (", …" if len(runs) > most else "")
