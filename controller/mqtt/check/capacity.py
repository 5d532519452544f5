"""How much a broker takes and keeps: the longest message, one that is far too long, and a queue."""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.mqtt.check.findings import Finding, failed, judged, passed
from controller.mqtt.check.peer import FAILURE, Peer, Refused
from controller.mqtt.check.redelivery import ranges
from controller.mqtt.check.sessions import SESSION_S
from controller.mqtt.check.site import FIRST, Site
from protocol.messages import MESSAGE_BYTES_MAX

GIANT_BYTES: Final = 1_000_000
REPORT_BYTES: Final = 256
QUEUE: Final = "queue"
_QUIET_S: Final = 2.0
"""When nothing more came for this long, nothing will."""


def check_capacity(site: Site) -> Iterator[Finding]:
    """Check how much the broker takes."""
    yield _whole_message(site)
    yield _giant_message(site)
    try:
        yield _offline_queue(site)
    finally:
        site.forget(QUEUE)


def _whole_message(site: Site) -> Finding:
    up, down = b"u" * MESSAGE_BYTES_MAX, b"d" * MESSAGE_BYTES_MAX
    with site.lane("ears") as lane, site.device(FIRST) as device:
        lane.listen(site.uplink(FIRST, "#"))
        device.listen(site.downlink(FIRST))
        for speaker, ears, topic, payload in (
            (device, lane, site.uplink(FIRST, "report"), up),
            (lane, device, site.downlink(FIRST), down),
        ):
            code = speaker.publish(topic, payload)
            if not ears.hears(payload):
                answer = speaker.ended if code is None else f"answered with code {code:#04x}"
                return failed("whole-message", f"{MESSAGE_BYTES_MAX} bytes on {topic} do not arrive; {answer}")
    return passed("whole-message", f"{MESSAGE_BYTES_MAX} bytes pass both ways")


def _giant_message(site: Site) -> Finding:
    giant = bytes(GIANT_BYTES)
    with site.lane("ears") as lane:
        lane.listen(site.uplink(FIRST, "#"))
        with site.device(FIRST) as device:
            try:
                code = device.publish(site.uplink(FIRST, "report"), giant)
            except Refused:
                return passed("giant-message", "never answered")
            why = device.ended if code is None else f"code {code:#04x}"
        is_heard = lane.hears(giant, seconds=site.limits.settle_s)
    if is_heard:
        return failed("giant-message", f"{GIANT_BYTES} bytes are passed on")
    is_taken = code is not None and code < FAILURE
    return judged("giant-message", f"taken, not passed on ({why})" if is_taken else why, is_good=not is_taken)


def _offline_queue(site: Site) -> Finding:
    manner, count = site.manner(session_s=SESSION_S), site.limits.queued
    with site.lane(QUEUE, manner) as lane:
        lane.listen(site.uplink(FIRST, "#"))
    topic = site.uplink(FIRST, "report")
    with site.device(FIRST) as device:
        device.publish_all((topic, b"%-*d" % (REPORT_BYTES, number)) for number in range(count))
    with site.lane(QUEUE, manner) as lane:
        kept = _drain(lane, count)
    found = f"{len(kept)} of {count} acknowledged messages kept"
    if len(kept) < count:
        found += f": {ranges(kept)}"
    return judged("offline-queue", found, is_good=len(kept) == count)


def _drain(lane: Peer, count: int) -> Sequence[int]:
    """Return the numbers that are heard, until all are or nothing more comes."""
    before = -1
    while before < len(lane.heard) < count:
        before = len(lane.heard)
        lane.wait(lambda: len(lane.heard) >= count, _QUIET_S)
    return sorted({int(heard.payload) for heard in lane.heard})
