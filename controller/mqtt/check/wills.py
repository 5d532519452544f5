"""When the broker says that a device is gone."""

from collections.abc import Iterator

from controller.mqtt.check.findings import Finding, judged, not_checked, passed
from controller.mqtt.check.peer import Peer
from controller.mqtt.check.site import FIRST, Site

HELLO = b"hello"


def check_wills(site: Site) -> Iterator[Finding]:
    """Check when wills are published."""
    with site.lane("ears") as ears:
        ears.listen(site.uplink(FIRST, "#"))
        yield _at_loss(site, ears)
        yield _at_farewell(site, ears)
        yield _at_leave(site, ears)
        yield _at_takeover(site, ears)


def _with_will(site: Site, will: bytes) -> Peer:
    return site.device(FIRST, site.manner(will=(site.uplink(FIRST, "gone"), will)))


def _at_loss(site: Site, ears: Peer) -> Finding:
    device, began = _with_will(site, b"lost"), site.now_s()
    device.cut()
    is_heard = ears.hears(b"lost", seconds=site.limits.will_s)
    span_ms = 1_000 * (site.now_s() - began)
    device.leave()
    return judged("will-at-loss", f"heard after {span_ms:.0f} ms" if is_heard else "not heard", is_good=is_heard)


def _at_farewell(site: Site, ears: Peer) -> Finding:
    if not site.is_mqtt5:
        return not_checked("will-at-farewell", "MQTT 3.1.1 has no such farewell")
    _with_will(site, b"farewell").leave(with_will=True)
    is_heard = ears.hears(b"farewell", seconds=site.limits.will_s)
    return judged("will-at-farewell", "heard" if is_heard else "not heard", is_good=is_heard)


def _at_leave(site: Site, ears: Peer) -> Finding:
    _with_will(site, b"left").leave()
    is_heard = ears.hears(b"left", seconds=site.limits.settle_s)
    return judged("will-at-leave", "published all the same" if is_heard else "dropped", is_good=not is_heard)


def _at_takeover(site: Site, ears: Peer) -> Finding:
    with _with_will(site, b"taken over") as first, site.device(FIRST) as second:
        second.publish(site.uplink(FIRST, "hello"), HELLO)
        first.wait(lambda: bool(first.ended), site.limits.settle_s)
        if not ears.hears(b"taken over", seconds=site.limits.settle_s):
            return passed("will-at-takeover", "not published")
        ears.hears(HELLO)
    said = [heard.payload for heard in ears.heard if heard.payload in {HELLO, b"taken over"}]
    return passed("will-at-takeover", f"published {'after' if said[0] == HELLO else 'before'} the new hello")
