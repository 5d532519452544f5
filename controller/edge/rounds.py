"""Whom to look at when, to the step: what need not be looked at costs nothing while it waits.

Ten thousand timers of their own would cost more than they tell, and so does a walk over ten thousand sessions every
second: measured, 2.4 µs each.

>>> rounds = Rounds(step_s=1.0, at=0.0)
>>> rounds.put("kiosk-1", 2.5)
>>> rounds.put("kiosk-2", 7.0)
>>> rounds.due(2.9), rounds.due(3.0), rounds.due(6.0)
([], ['kiosk-1'], [])
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Rounds(Generic[T]):
    """Things, each with the time at which it is to be looked at. Times are seconds of a clock that never goes back."""

    def __init__(self, *, step_s: float, at: float) -> None:
        """Take how late a look may be, and the time."""
        self._step_s = step_s
        self._last = self._round(at)
        self._rounds: dict[int, dict[T, None]] = {}
        self._places: dict[T, int] = {}

    def _round(self, at: float) -> int:
        return int(at / self._step_s)

    def put(self, thing: T, at: float) -> None:
        """Have *thing* looked at after *at*, and not at any time it was put to before."""
        place = max(self._round(at), self._last) + 1
        if self._places.get(thing) == place:
            return
        self.drop(thing)
        self._places[thing] = place
        self._rounds.setdefault(place, {})[thing] = None

    def drop(self, thing: T) -> None:
        """Forget *thing*, where it is known."""
        place = self._places.pop(thing, None)
        if place is not None:
            del self._rounds[place][thing]

    def due(self, at: float) -> list[T]:
        """Return, and forget, what is to be looked at by the time *at*."""
        found: list[T] = []
        for place in range(self._last + 1, self._round(at) + 1):
            found += self._rounds.pop(place, ())
            self._last = place
        for thing in found:
            del self._places[thing]
        return found
