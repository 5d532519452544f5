"""What everything rests on: traffic both ways, and what the broker announces as it lets a lane in."""

from collections.abc import Iterator
from typing import Any, Final

from controller.mqtt.check.findings import Finding, failed, judged, not_checked, passed
from controller.mqtt.check.peer import Refused
from controller.mqtt.check.site import FIRST, Site
from controller.mqtt.limits import Limits

LANE: Final = Limits()
"""What a lane asks of a broker."""
RECEIVE_DEFAULT: Final = 65_535
"""MQTT 5.0, section 3.2.2.3.3."""


def check_basics(site: Site) -> Iterator[Finding]:
    """Check what everything rests on."""
    try:
        yield passed("traffic", _traffic(site))
    except Refused as error:
        yield failed("traffic", str(error))
    names = ("wildcards", "receive-maximum", "packet-maximum", "session-expiry", "server-keepalive")
    if not site.is_mqtt5:
        yield from (not_checked(name, "MQTT 3.1.1 announces nothing") for name in names)
        return
    with site.lane("announcements", site.manner(session_s=LANE.session_expiry_s)) as lane:
        announced = lane.announced
    site.forget("announcements")
    yield from _announcements(announced)


def _traffic(site: Site) -> str:
    """Return how a word and its answer passed, or raise `Refused`."""
    with site.lane("traffic") as lane, site.device(FIRST) as device:
        lane.listen(site.uplink(FIRST, "#"))
        device.listen(site.downlink(FIRST))
        began = site.now_s()
        device.publish(site.uplink(FIRST, "report"), b"word")
        if not lane.hears(b"word"):
            raise Refused("a device's report is not heard by the controller")
        lane.publish(site.downlink(FIRST), b"answer")
        if not device.hears(b"answer"):
            raise Refused("the controller's command is not heard by its device")
        return f"there and back in {1_000 * (site.now_s() - began):.0f} ms"


def _announcements(announced: dict[str, Any]) -> Iterator[Finding]:
    has_wildcards = announced.get("WildcardSubscriptionAvailable", 1) == 1
    yield judged("wildcards", "available" if has_wildcards else "not available", is_good=has_wildcards)
    window = announced.get("ReceiveMaximum", RECEIVE_DEFAULT)
    yield judged("receive-maximum", f"{window}; a lane uses up to {LANE.window}", is_good=window >= LANE.window)
    most = announced.get("MaximumPacketSize")
    found = "no limit announced" if most is None else f"{most} bytes; needed are {LANE.packet_bytes_max}"
    yield judged("packet-maximum", found, is_good=most is None or most >= LANE.packet_bytes_max)
    wanted_s = LANE.session_expiry_s
    expiry_s = announced.get("SessionExpiryInterval", wanted_s)
    yield judged("session-expiry", f"{expiry_s} s of {wanted_s} s", is_good=expiry_s >= wanted_s)
    keepalive_s = announced.get("ServerKeepAlive")
    yield passed("server-keepalive", "ours" if keepalive_s is None else f"{keepalive_s} s")
