"""The real clock and the real chance: the only place of the controller that time and randomness come from."""

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Final

from protocol.units import Instant

SLEEP_MS_MAX: Final = 60_000
"""The longest single sleep, so that a wall clock that jumps is noticed."""


def monotonic_s() -> float:
    """Return seconds of a clock that never goes back, for spans."""
    return time.monotonic()


class SystemClock:
    """Wall time, and a sleep that `wake` ends early. Belongs to one event loop."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def now(self) -> Instant:
        """Return the wall clock's time."""
        return Instant(time.time_ns() // 1_000_000)

    async def sleep_until(self, at: Instant) -> None:
        """Return when `now` has reached *at*, or earlier when `wake` is, or since the last sleep was, called."""
        span_ms = min(max(0, at - self.now()), SLEEP_MS_MAX)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), span_ms / 1000)
        self._woken.clear()

    async def pause_until(self, at: Instant) -> None:
        """Return when `now` has reached *at*; `wake` does not end it."""
        await asyncio.sleep(max(0, at - self.now()) / 1000)

    def wake(self) -> None:
        """End a `sleep_until` early; what was waited for may have changed."""
        self._woken.set()


class SystemChance:
    """The operating system's randomness."""

    def token(self, byte_count: int) -> str:
        """Return that many unguessable bytes, in hexadecimal."""
        return secrets.token_hex(byte_count)
