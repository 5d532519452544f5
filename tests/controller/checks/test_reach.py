"""Checks reach public addresses and those the operator allows, and connect to the very address that was looked at."""

import asyncio
import socket
from ipaddress import ip_address, ip_network
from typing import Any

import httpcore
import pytest

from controller.checks.reach import Reach, Unreachable, is_public

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fc00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_are_not_of_the_open_internet_are_told(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14"])
def test_public_addresses_are_public(text: str) -> None:
    assert is_public(ip_address(text))


class Recording(httpcore.AsyncMockBackend):
    """Keeps where it was told to connect."""

    def __init__(self) -> None:
        super().__init__([])
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        return await super().connect_tcp(host, *args, **kwargs)


def names(monkeypatch: pytest.MonkeyPatch, *rounds: list[str]) -> list[str]:
    """Have every name mean these addresses: another list at each look. Return the names that were looked up."""
    asked: list[str] = []

    async def getaddrinfo(_loop: object, host: str, port: int, **_: Any) -> list[Any]:
        found = rounds[min(len(asked), len(rounds) - 1)]
        asked.append(host)
        if not found:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


async def connected(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    inner = Recording()
    monkeypatch.setattr(reach, "_inner", inner)
    await reach.connect_tcp("name.example", 443)
    return inner.connected


async def test_a_name_is_looked_up_once_and_the_address_that_was_looked_at_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = names(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
    assert await connected(Reach(), monkeypatch) == ["93.184.215.14"]
    assert asked == ["name.example"]


async def test_of_several_addresses_one_that_may_be_reached_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["10.0.0.1", "93.184.215.14"])
    assert await connected(Reach(), monkeypatch) == ["93.184.215.14"]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_at_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, [address])
    with pytest.raises(Unreachable, match="TIDEGATE_CHECK_NETWORKS"):
        await connected(Reach(), monkeypatch)


async def test_networks_of_the_operator_are_reached_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = Reach([ip_network("10.0.0.0/8")])
    for allowed in ("10.9.9.9", "::ffff:10.9.9.9"):
        names(monkeypatch, [allowed])
        assert await connected(reach, monkeypatch) == [str(ip_address(allowed))]
    names(monkeypatch, ["192.168.0.1"])
    with pytest.raises(Unreachable):
        await connected(reach, monkeypatch)


async def test_a_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, [])
    with pytest.raises(Unreachable, match="not known"):
        await connected(Reach(), monkeypatch)


async def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(Unreachable, match="not known"):
        await Reach().connect_tcp("a" * 70 + ".example", 443)
