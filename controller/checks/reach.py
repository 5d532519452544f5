"""Which addresses a check may reach: public ones, and those that the operator of the controller allows.

Who may write a pipeline may have the controller call any URL. So a name is resolved first, and the connection goes to
the very address that was looked at: a name that means another address a moment later changes nothing (OWASP,
Server-Side Request Forgery Prevention).

>>> [is_public(ip_address(text)) for text in ("93.184.215.14", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
[True, False, False, False]
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import httpcore

from controller.address import Network

Address = IPv4Address | IPv6Address

UNICAST: Final = ip_network("2000::/3")
"""All that is given out of IPv6 (RFC 4291); site-local addresses and what wraps an IPv4 address lie outside."""


class Unreachable(Exception):
    """No connection is made: the name is not known, or none of its addresses may be reached."""


def is_public(address: Address) -> bool:
    """Say whether an address is one of the open Internet; one that tunnels to an IPv4 address is none."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in UNICAST or address.sixtofour is not None or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


class Reach(httpcore.AsyncNetworkBackend):
    """Makes connections to public addresses, and to those within *networks*."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = networks
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of *host* that may be reached.

        Raises:
            Unreachable: when there is none.
        """
        async with asyncio.timeout(timeout):
            address = await self._address(host, port)
        return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)

    async def _address(self, host: str, port: int) -> Address:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unreachable("the name is not known") from error
        for *_, place in found:
            address = ip_address(place[0])
            if self._may_reach(address):
                return address
        raise Unreachable("it is at no public address, and TIDEGATE_CHECK_NETWORKS does not allow it")

    def _may_reach(self, address: Address) -> bool:
        plain = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
        return is_public(address) or any(plain in network for network in self._networks)
