"""Where things are on the network, as people write it in settings.

>>> parse_broker("mqtts://controller:secret@broker.example")
BrokerAddress(host='broker.example', port=8883, is_tls=True, user='controller', password='secret')
>>> parse_place("[::1]:8883")
Place(host='::1', port=8883)
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

Network = IPv4Network | IPv6Network
PORTS: Final = {"mqtts": 8_883, "mqtt": 1_883}
"""What each scheme stands for where no port is given."""


class BrokerAddress(NamedTuple):
    """A broker, and who we are there; no user and no password where the certificate is enough."""

    host: str
    port: int
    is_tls: bool = True
    user: str = ""
    password: str = ""


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int


def parse_broker(url: str) -> BrokerAddress:
    """Parse ``mqtts://user:password@host:port``, or ``mqtt://`` where no TLS is spoken.

    Raises:
        ValueError: when *url* is something else. The text repeats nothing of it, since it may hold a password.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in PORTS or not parts.hostname or _rest(parts):
        raise ValueError("the broker's URL: expected mqtts://[user:password@]host[:port], or mqtt:// without TLS")
    return BrokerAddress(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        is_tls=parts.scheme == "mqtts",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def parse_place(text: str) -> Place:
    """Parse ``host:port``; an IPv6 address stands in brackets.

    Raises:
        ValueError: when *text* is something else.
    """
    parts = _split(f"//{text}")
    if parts is None or not parts.hostname or not parts.port or parts.username is not None or _rest(parts):
        raise ValueError(f"{text[:80]!r}: expected host:port")
    return Place(parts.hostname, parts.port)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse networks that are joined by commas; none where there is no text.

    Raises:
        ValueError: when one is none.

    >>> parse_networks("10.0.0.0/8, fd00::/8")
    (IPv4Network('10.0.0.0/8'), IPv6Network('fd00::/8'))
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is checked when it is read
    except ValueError:
        return None
    return None if any(char.isspace() for char in url) else parts


def _rest(parts: SplitResult) -> str:
    return parts.path.strip("/") + parts.query + parts.fragment
