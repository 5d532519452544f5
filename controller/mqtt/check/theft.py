"""Whether a device can take a client id that is not its own: another device's, or a lane's.

A broker may refuse the thief, or let it in under its own name. What counts is whether the owner is thrown out.
"""

from collections.abc import Callable, Iterator

from controller.mqtt.check.findings import Finding, judged
from controller.mqtt.check.peer import Door, Peer, Refused
from controller.mqtt.check.site import FIRST, SECOND, Site


def check_ids(site: Site) -> Iterator[Finding]:
    """Check whose client ids are safe."""
    yield _theft(site, "device-id", lambda: site.device(FIRST), site.name(FIRST))
    # No lane of a controller at work has this id: where the broker is not safe, one would be thrown out.
    yield _theft(site, "lane-id", lambda: site.lane("lane"), site.client_id("lane"))


def _theft(site: Site, name: str, owner: Callable[[], Peer], client_id: str) -> Finding:
    said, stolen = [], False
    for door in site.doors(site.identities.devices[SECOND]):
        with owner() as victim:
            what, is_stolen = _steal(site, door, client_id, victim)
        said.append(f"{what} at {door.host}:{door.port}")
        stolen = stolen or is_stolen
    return judged(name, "; ".join(said), is_good=not stolen)


def _steal(site: Site, door: Door, client_id: str, victim: Peer) -> tuple[str, bool]:
    try:
        thief = site.peer(door, client_id)
    except Refused as error:
        return f"refused ({error})", False
    with thief:
        if victim.wait(lambda: bool(victim.ended), site.limits.settle_s):
            return "the owner was thrown out", True
        return "let in under another id", False
