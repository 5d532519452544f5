"""Where the agent's time and chance come from; nothing else reads a clock or draws a number."""

import secrets
import time
from typing import Final

_NS_PER_MS: Final = 1_000_000


def boottime_ms() -> int:
    """Return CLOCK_BOOTTIME in milliseconds: it runs on through a suspend and is never set."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_MS


def monotonic_ms() -> int:
    """Return CLOCK_MONOTONIC in milliseconds: it stands still in a suspend."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // _NS_PER_MS


def suspended_ms() -> int:
    """Return how long this boot has been suspended; it grows by each suspend's length."""
    return boottime_ms() - monotonic_ms()


def system_ms() -> int:
    """Return the system's idea of the time. It may be wrong by years: for logs and certificates only."""
    return time.time_ns() // _NS_PER_MS


def drawn_below(end: int) -> int:
    """Return a random number of at least 0 and less than *end*."""
    return secrets.randbelow(end)


def new_nonce() -> str:
    """Return 16 random bytes in hexadecimal."""
    return secrets.token_hex(16)


def new_incarnation() -> str:
    """Return 8 random bytes in hexadecimal: the name of a journal's life."""
    return secrets.token_hex(8)
