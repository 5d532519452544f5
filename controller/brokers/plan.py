"""What a broker's configuration is made from, and the files that it comes to. Pure.

The rules that every configuration here keeps:

1. Whoever connects shows a certificate of the installation's CA.
2. The controller's sessions are protected by more than a certificate: every device has one of the same CA, and who
   connects with a lane's client id takes the lane's session over. So the controller also shows a password.
"""

import ipaddress
from typing import Final, NamedTuple

import msgspec

from controller.app.errors import InvalidRequest
from controller.signing.authority import CONTROLLER_NAME
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.profiles import Profile

CONTROLLER_FILE: Final = "tidegate.env"
CA_FILE: Final = "ca.crt"
CERTIFICATE_FILE: Final = "server.crt"
KEY_FILE: Final = "server.key"
DATA_FOLDER: Final = "data"

PACKET_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 1_024
"""A message of ours with topic and header."""

_LOOPBACK: Final = "127.0.0.1"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker runs, and where it is reached.

    Args:
        folder: the absolute path at which the broker finds its files.
        hosts: names and addresses under which devices reach the broker; the first is the one they are told.
        device_port: where devices connect.
        device_bind: the address at which the broker listens for devices; empty: all of them.
        controller_port: where the controller connects, at brokers that can tell listeners apart.
        controller_bind: the address at which the broker listens for the controller; empty: all of them.
        user: whom the broker becomes where root starts it.
        password: what the controller shows.
    """

    folder: str
    hosts: tuple[str, ...]
    password: str
    device_port: int = 8883
    device_bind: str = ""
    controller_port: int = 8884
    controller_bind: str = _LOOPBACK
    user: str = "mosquitto"

    def __post_init__(self) -> None:
        """Refuse what could be read as more than one word of a configuration."""
        words = {"folder": self.folder, "user": self.user, "password": self.password}
        addresses = {"address to listen at": self.device_bind, "address for the controller": self.controller_bind}
        for what, word in (words | addresses).items():
            if any(not char.isprintable() or char in "\"'\\$#{}" for char in word):
                raise InvalidRequest(f"{what} {word!r}: expected no quotes, backslashes, $, #, braces or line breaks")
            if what != "folder" and " " in word:
                raise InvalidRequest(f"{what} {word!r}: expected no spaces")
        if not self.hosts:
            raise InvalidRequest("no host: expected at least one name or address at which devices reach the broker")
        if self.device_port == self.controller_port:
            raise InvalidRequest(f"port {self.device_port} cannot serve both devices and the controller")

    @property
    def controller_host(self) -> str:
        """Where the controller reaches the broker: the address that its listener is bound to, if there is one."""
        return self.hosts[0] if is_everywhere(self.controller_bind) else self.controller_bind

    @property
    def certified_hosts(self) -> tuple[str, ...]:
        """The names and addresses that the broker's certificate has to be for."""
        return tuple(dict.fromkeys((*self.hosts, self.controller_host)))


class File(NamedTuple):
    """One file of a configuration; a private one is for its owner's eyes."""

    name: str
    data: bytes
    is_private: bool = False


class Rendered(NamedTuple):
    """A configuration: its files, the main one's name, how the broker is started, and how it is found.

    `preparation` is what root has to do first, where root starts it; empty: nothing.
    """

    files: tuple[File, ...]
    configuration: str
    command: str
    url: str
    devices: str
    profile: Profile
    preparation: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """The controller's settings, by the names of their variables."""
        return {
            "TIDEGATE_BROKER_URL": self.url,
            "TIDEGATE_BROKER_PROFILE": self.profile.value,
            "TIDEGATE_BROKER_DEVICES": self.devices,
        }


def url_of(plan: Plan, port: int, *, is_by_certificate: bool = False) -> str:
    """Return the URL at which the controller reaches *port*, with its password unless its certificate is enough."""
    login = "" if is_by_certificate else f"{CONTROLLER_NAME}:{plan.password}@"
    return f"mqtts://{login}{bracketed(plan.controller_host)}:{port}"


def devices_of(plan: Plan) -> str:
    """Return ``host:port`` as devices are told it."""
    return f"{bracketed(plan.hosts[0])}:{plan.device_port}"


def is_everywhere(bind: str) -> bool:
    """Say whether *bind* means every address of the machine."""
    return bind in {"", "0.0.0.0", "::"}  # noqa: S104 - asked about, not bound to


def bracketed(host: str) -> str:
    """Return *host* as it stands before a port: IPv6 addresses in brackets."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    except ValueError:
        return host
