"""What outlives a restart of the broker; only where a command to restart it is given."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from controller.mqtt.check.findings import Finding, failed, judged, not_checked
from controller.mqtt.check.peer import Peer, Refused
from controller.mqtt.check.sessions import SESSION_S
from controller.mqtt.check.site import FIRST, Site

COUNT: Final = 100
PURPOSE: Final = "restart"
_PAUSE_S: Final = 0.2


def check_restart(site: Site) -> Iterator[Finding]:
    """Check what outlives a restart."""
    if site.restart is None:
        yield not_checked("restart", "needs --allow-restart 'COMMAND'")
        return
    try:
        was_restarted = _restart(site, site.restart)
        yield _outcome(site, was_restarted=was_restarted)
    except Refused as error:
        yield not_checked("restart", str(error))
    finally:
        _again(site).leave()
        site.forget(PURPOSE)


def _restart(site: Site, restart: Callable[[], None]) -> bool:
    """Leave messages in a session and restart the broker; say whether that ended its connections."""
    with site.lane(PURPOSE, site.manner(session_s=SESSION_S)) as lane:
        lane.listen(site.uplink(FIRST, "#"))
    with site.device(FIRST) as device:
        device.publish_all((site.uplink(FIRST, "report"), b"%d" % number) for number in range(COUNT))
        restart()
        return device.wait(lambda: bool(device.ended), site.limits.settle_s)


def _outcome(site: Site, *, was_restarted: bool) -> Finding:
    if not was_restarted:
        return not_checked("restart", "the command ended no connection: it restarts something else")
    with _again(site) as lane:
        if not lane.session_present:
            return failed("restart", f"the session is gone, and {COUNT} acknowledged messages with it")
        lane.wait(lambda: len(lane.heard) >= COUNT, site.limits.prompt_s)
        kept = len({heard.payload for heard in lane.heard})
    return judged("restart", f"the session is kept, with {kept} of {COUNT} messages", is_good=kept == COUNT)


def _again(site: Site) -> Peer:
    """Connect as soon as the broker is back.

    Raises:
        Refused: when it is not back in time.
    """
    until = site.now_s() + site.limits.restart_s
    while True:
        try:
            return site.lane(PURPOSE, site.manner(session_s=SESSION_S))
        except Refused:
            if site.now_s() > until:
                raise
        time.sleep(_PAUSE_S)
