"""What a lane's session keeps, and what happens when two connections have one client id."""

from collections.abc import Iterator
from typing import Final

from controller.mqtt.check.findings import Finding, failed, judged, passed
from controller.mqtt.check.peer import Refused
from controller.mqtt.check.site import FIRST, Site

SESSION_S: Final = 300
"""So that a probe that is killed leaves nothing for long."""
KEPT: Final = 10


def check_sessions(site: Site) -> Iterator[Finding]:
    """Check what sessions keep."""
    try:
        yield _resumption(site)
    finally:
        site.forget("session")
    yield _takeover(site)


def _resumption(site: Site) -> Finding:
    manner = site.manner(session_s=SESSION_S)
    with site.lane("session", manner) as lane:
        lane.listen(site.uplink(FIRST, "#"))
    wanted = [b"kept %d" % number for number in range(KEPT)]
    with site.device(FIRST) as device:
        device.publish_all((site.uplink(FIRST, "report"), payload) for payload in wanted)
    with site.lane("session", manner) as lane:
        if not lane.session_present:
            return failed("resumption", "the session is not kept")
        lane.wait(lambda: len(lane.heard) >= KEPT, site.limits.prompt_s)
        count = len({heard.payload for heard in lane.heard} & set(wanted))
    return judged("resumption", f"{count} of {KEPT} messages kept", is_good=count == KEPT)


def _takeover(site: Site) -> Finding:
    with site.lane("takeover") as first:
        try:
            second = site.lane("takeover")
        except Refused as error:
            return failed("takeover", f"the second connection is refused: {error}")
        with second:
            if not first.wait(lambda: bool(first.ended), site.limits.will_s):
                return failed("takeover", "both connections stand")
    return passed("takeover", first.ended)
