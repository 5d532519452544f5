"""What becomes of shared subscriptions. Comes late: there are brokers that break over them."""

from collections.abc import Iterator
from typing import Final

from controller.mqtt.check.findings import Finding, judged, passed
from controller.mqtt.check.peer import FAILURE, Refused
from controller.mqtt.check.rights import hears_others
from controller.mqtt.check.site import FIRST, PARTITION, Site
from protocol.topics import ROOT

COUNT: Final = 20
_SHARED: Final = "$share/tidegate-check"


def check_shared(site: Site) -> Iterator[Finding]:
    """Check shared subscriptions."""
    yield passed("shared-subscriptions", _deliveries(site))
    is_heard = hears_others(site, f"{_SHARED}/{ROOT}/u/{PARTITION}/#")
    yield judged("shared-reading", "heard" if is_heard else "nothing heard", is_good=not is_heard)


def _deliveries(site: Site) -> str:
    topic_filter = f"{_SHARED}/{site.uplink(FIRST, '#')}"
    with site.lane("share-1") as first, site.lane("share-2") as second, site.device(FIRST) as device:
        for member in (first, second):
            try:
                code = member.subscribe(topic_filter)
            except Refused as error:
                return f"refused: {error}"
            if code >= FAILURE:
                return f"refused by code {code:#04x}"
        device.publish_all((site.uplink(FIRST, "report"), b"%d" % number) for number in range(COUNT))
        first.wait(lambda: len(first.heard) + len(second.heard) >= COUNT, site.limits.settle_s)
        return f"accepted; of {COUNT} messages {len(first.heard)} and {len(second.heard)} came to two members"
