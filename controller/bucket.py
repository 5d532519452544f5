"""So many in a row, then so many a second: how a rate is bounded."""


class Bucket:
    """A token bucket: so many in a row, then so many a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, *, rate: float, burst: float) -> None:
        """Take the rate, per second, and how many may come at once."""
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def take(self, at: float) -> bool:
        """Take one at the time *at*, in seconds; say whether there was one. A clock that goes back adds nothing."""
        self._left = min(self._burst, self._left + max(0.0, at - self._at) * self._rate)
        self._at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True
