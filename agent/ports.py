"""Ports of loopback for services of this machine."""

import socket
from pathlib import Path
from typing import Final

from agent.clock import drawn_below

FIRST: Final = 10_240
"""Below it are the ports of well-known services."""
OUTGOING_FIRST: Final = 32_768
"""The lowest port that Linux gives to outgoing connections, unless it is told otherwise."""
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOOPBACK: Final = "127.0.0.1"
_DRAWS: Final = 100


def free_port() -> int:
    """Return a port of loopback that nobody uses now, and that no outgoing connection takes until its service starts.

    Where outgoing connections may take every port, or the ones tried are all in use, it is whichever is free now.
    """
    end = _outgoing_first()
    for _ in range(_DRAWS if end > FIRST else 0):
        port = FIRST + drawn_below(end - FIRST)
        if _is_free(port):
            return port
    with socket.socket() as found:
        found.bind((_LOOPBACK, 0))
        return int(found.getsockname()[1])


def _outgoing_first() -> int:
    """Return the lowest port of outgoing connections (ip-sysctl of the Linux kernel, `ip_local_port_range`)."""
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return OUTGOING_FIRST


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True
