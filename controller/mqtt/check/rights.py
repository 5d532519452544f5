"""What a device may write and read beside its own topics: nothing.

That something does not come is known by what is sent after it: when that has come, and a little later, it will not.
"""

from collections.abc import Iterator
from typing import Final

from controller.mqtt.check.findings import Finding, failed, judged, passed
from controller.mqtt.check.peer import FAILURE, Peer, Refused
from controller.mqtt.check.site import FIRST, PARTITION, SECOND, Site
from protocol.topics import ROOT

FORGED: Final = b"forged"
MARK: Final = b"mark"
PROOF: Final = b"proof"


def check_rights(site: Site) -> Iterator[Finding]:
    """Check the rights of devices."""
    with site.lane("ears") as ears:
        ears.listen(f"{ROOT}/u/{PARTITION}/#")
        is_heard, answer = _forge(site, site.uplink(SECOND, "report"), ears=ears)
        _insist_on_mark(site, ears)
        yield judged("foreign-uplink", "heard" if is_heard else "not heard", is_good=not is_heard)
    with site.device(SECOND) as victim:
        victim.listen(site.downlink(SECOND))
        is_heard, _ = _forge(site, site.downlink(SECOND), ears=victim)
        _insist_on_command(site, victim)
        yield judged("foreign-command", "heard" if is_heard else "not heard", is_good=not is_heard)
    yield passed("refusals", answer)
    yield _foreign_reading(site)
    yield _foreign_will(site)
    yield _retained(site)


def _insist_on_mark(site: Site, ears: Peer) -> None:
    """See that *ears* still hear: else it would mean nothing that they heard nothing forged."""
    with site.device(FIRST) as device:
        device.publish(site.uplink(FIRST, "report"), PROOF)
    if not ears.hears(PROOF):
        raise Refused(f"the controller hears nothing any more; {ears.ended or 'its connection stands'}")


def _insist_on_command(site: Site, device: Peer) -> None:
    """See that the second device still hears what is for it."""
    with site.lane("mouth") as lane:
        lane.publish(site.downlink(SECOND), PROOF)
    if not device.hears(PROOF):
        raise Refused(f"a device hears nothing any more; {device.ended or 'its connection stands'}")


def _forge(site: Site, topic: str, *, ears: Peer) -> tuple[bool, str]:
    """Have the first device publish where it must not; say whether *ears* heard it, and what the device was told."""
    with site.device(FIRST) as thief:
        answer = _in_words(thief, thief.publish(topic, FORGED))
    return ears.hears(FORGED, seconds=2 * site.limits.settle_s), answer


def _in_words(thief: Peer, code: int | None) -> str:
    if code is None:
        return f"the connection ended: {thief.ended}"
    return f"told, by code {code:#04x}" if code >= FAILURE else "acknowledged in silence"


def _foreign_reading(site: Site) -> Finding:
    filters = (
        f"{ROOT}/d/{site.name(FIRST)}/#",
        f"{ROOT}/d/+/cmd",
        f"{ROOT}/u/#",
        site.uplink(FIRST, "report"),
        "#",
    )
    leaks = [topic_filter for topic_filter in filters if hears_others(site, topic_filter)]
    found = f"heard by subscribing to {', '.join(leaks)}" if leaks else "nothing heard"
    return judged("foreign-reading", found, is_good=not leaks)


def hears_others(site: Site, topic_filter: str) -> bool:
    """Say whether the second device, subscribed to *topic_filter*, hears what the first one says or is told."""
    with site.device(SECOND) as thief, site.device(FIRST) as victim, site.lane("ears") as lane:
        try:
            if thief.subscribe(topic_filter) >= FAILURE:
                return False
        except Refused:
            return False  # the broker ended the connection
        thief.subscribe(site.downlink(SECOND))
        victim.publish(site.uplink(FIRST, "report"), MARK)
        lane.publish(site.downlink(FIRST), MARK)
        is_heard = thief.hears(MARK, seconds=site.limits.settle_s)
        _insist_on_command(site, thief)
        return is_heard


def _foreign_will(site: Site) -> Finding:
    with site.lane("ears") as ears:
        ears.listen(f"{ROOT}/u/{PARTITION}/#")
        try:
            thief = site.device(SECOND, site.manner(will=(site.uplink(FIRST, "gone"), FORGED)))
        except Refused as error:
            return passed("foreign-will", f"refused: {error}")
        thief.cut()
        is_heard = ears.hears(FORGED, seconds=2 * site.limits.settle_s)
        thief.leave()
        _insist_on_mark(site, ears)
        return judged("foreign-will", "heard" if is_heard else "not heard", is_good=not is_heard)


def _retained(site: Site) -> Finding:
    topic = site.uplink(FIRST, "report")
    with site.device(FIRST) as device:
        answer = _in_words(device, device.publish(topic, MARK, is_retained=True))
    with site.lane("ears") as ears:
        ears.listen(f"{ROOT}/u/{PARTITION}/#")
        if not ears.hears(MARK, seconds=site.limits.settle_s):
            return passed("retained", f"not kept; {answer}")
    with site.device(FIRST) as device:
        device.publish(topic, b"", is_retained=True)  # takes it away again (MQTT 5.0, section 3.3.1.3)
    return failed("retained", "kept, and sent to whoever subscribes later")
