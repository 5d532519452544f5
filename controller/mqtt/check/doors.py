"""Who gets in: TLS, certificates, and the versions of MQTT that are spoken."""

import socket
import ssl
from collections.abc import Collection, Iterator
from typing import Final

import msgspec
from paho.mqtt.enums import MQTTProtocolVersion

from controller.mqtt.check.catalogue import Verdict
from controller.mqtt.check.findings import Finding, failed, judged, not_checked, passed
from controller.mqtt.check.peer import ANSWER_S, Door, Manner, Refused
from controller.mqtt.check.site import FIRST, Site

VERSIONS: Final = (("mqtt5", MQTTProtocolVersion.MQTTv5), ("mqtt3.1.1", MQTTProtocolVersion.MQTTv311))
SPOKEN: Final = "spoken"
OTHER_NAME: Final = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (OpenSSL, x509_vfy.h)."""
CONNECT_S: Final = 3.0
"""Where a firewall says nothing."""


def check_doors(site: Site) -> Iterator[Finding]:
    """Check who gets in.

    Raises:
        Refused: when nobody listens, or TLS is not what it should be, so that nothing else can be asked.
    """
    reachable = _reachable(site)
    yield reachable
    if reachable.verdict is not Verdict.OK:
        raise Refused(reachable.found)
    tls = _tls(site)
    yield tls
    yield _plain(site)
    if site.controller.context is not None and tls.verdict is not Verdict.OK:
        raise Refused("there is no trusted TLS")
    yield _old_tls(site)
    yield _kept_out("certificate", site, site.identities.nobody)
    yield _kept_out("foreign-certificate", site, site.identities.stranger)
    yield from _versions(site)


def accepted_versions(found: Collection[Finding]) -> list[MQTTProtocolVersion]:
    """Return the versions of MQTT, newest first, in which both a device and the controller were let in."""
    return [version for name, version in VERSIONS if passed(name, SPOKEN) in found]


def _reachable(site: Site) -> Finding:
    doors = site.doors(site.identities.nobody)
    for door in doors:
        try:
            socket.create_connection((door.host, door.port), ANSWER_S).close()
        except socket.gaierror:
            return failed("reachable", f"unreachable: {door.host} does not resolve here")
        except OSError as error:
            return failed("reachable", f"unreachable: {_place(door)}: {error.strerror or error}")
    return passed("reachable", ", ".join(map(_place, doors)))


def _tls(site: Site) -> Finding:
    spoken = []
    for door in site.doors(site.identities.devices[FIRST]):
        if door.context is None:
            return failed("tls", f"not spoken at {_place(door)}, by the address given (mqtt://)")
        try:
            spoken.append(f"{_handshake(door, door.context)} at {_place(door)}")
        except ssl.SSLCertVerificationError as error:
            hint = (
                f"; write its certificate anew, with --host {door.host} too" if error.verify_code in OTHER_NAME else ""
            )
            return failed("tls", f"{_place(door)}: {error}{hint}")
        except (OSError, ValueError) as error:
            return failed("tls", f"{_place(door)}: {error}")
    return passed("tls", ", ".join(spoken))


def _handshake(door: Door, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection((door.host, door.port), ANSWER_S) as opened,
        context.wrap_socket(opened, server_hostname=door.host) as wrapped,
    ):
        return wrapped.version() or "no TLS"


def _old_tls(site: Site) -> Finding:
    for door in site.doors(site.identities.dated):
        if door.context is None:
            return not_checked("old-tls", "no TLS is spoken")
        try:
            spoken = _handshake(door, door.context)
        except (OSError, ValueError):
            continue
        return failed("old-tls", f"{spoken} is spoken at {_place(door)}")
    return passed("old-tls", "refused")


def _plain(site: Site) -> Finding:
    hosts = dict.fromkeys((site.devices.host, site.controller.host))
    doors = {(door.host, door.port) for door in (site.devices, site.controller)}
    doors |= {(host, site.limits.plain_port) for host in hosts}
    let_in = [f"{host}:{port}" for host, port in sorted(doors) if _lets_in_plain(site, host, port)]
    return judged("plain", f"let in at {', '.join(let_in)}" if let_in else "kept out", is_good=not let_in)


def _lets_in_plain(site: Site, host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError:
        return False  # nobody listens there
    door = Door(host=host, port=port, context=None)
    return any(_enters(site, door, manner) for manner in _manners())


def _manners() -> list[Manner]:
    return [Manner(version=version) for _, version in VERSIONS]


def _enters(site: Site, door: Door, manner: Manner) -> bool:
    try:
        site.peer(door, site.client_id("stranger"), manner).leave()
    except Refused:
        return False
    return True


def _kept_out(name: str, site: Site, context: ssl.SSLContext) -> Finding:
    doors = site.doors(context)
    if doors[0].context is None:
        return failed(name, "no TLS is spoken, so that nobody needs one")
    let_in = [_place(door) for door in doors if any(_enters(site, door, manner) for manner in _manners())]
    return judged(name, f"let in at {', '.join(let_in)}" if let_in else "kept out", is_good=not let_in)


def _versions(site: Site) -> Iterator[Finding]:
    for name, version in VERSIONS:
        why = _why_refused(site, version)
        yield judged(name, why or SPOKEN, is_good=not why)


def _why_refused(site: Site, version: MQTTProtocolVersion) -> str:
    spoken = msgspec.structs.replace(site, version=version)
    who = "the device"
    try:
        spoken.device(FIRST).leave()
        who = "the controller"
        spoken.lane("version").leave()
    except Refused as error:
        return f"{who} is refused: {error}"
    return ""


def _place(door: Door) -> str:
    return f"{door.host}:{door.port}"
