"""When each of some numbered things is due, the earliest first.

A heap keeps every deadline that was ever set; those that hold no more are dropped when they come up, and all at once
when they are many. Taking a change back only sets the deadline that was, so the heap itself needs no undoing.

>>> journal = Journal()
>>> deadlines = Deadlines(journal)
>>> journal.run(lambda: [deadlines.set(key, due) for key, due in ((1, 30), (2, 10), (3, 20), (2, 40))])
[None, None, None, None]
>>> deadlines.earliest(), deadlines.until(30, limit=9)
(20, [3, 1])
"""

from heapq import heapify, heappop, heappush
from typing import Final

from simulator.memory.journal import Journal

STALE_SHARE_MAX: Final = 2
"""How many times as long as the deadlines that hold the heap may become."""
STALE_MIN: Final = 64


class Deadlines:
    """Deadlines by the id of what is due."""

    def __init__(self, journal: Journal) -> None:
        """Begin empty; changes are noted in *journal*."""
        self._journal = journal
        self._due: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def __contains__(self, key: int) -> bool:
        return key in self._due

    def set(self, key: int, due: int | None) -> None:
        """Set the deadline of *key*, or take it away."""
        before = self._due.get(key)
        if due != before:
            self._journal.on_undo(self._set, key, before)
            self._set(key, due)

    def earliest(self) -> int | None:
        """Return the earliest deadline."""
        first = self._first()
        return None if first is None else first[0]

    def until(self, at: int, *, limit: int) -> list[int]:
        """Return the first *limit* ids whose deadline is not after *at*, by deadline and id."""
        found: list[tuple[int, int]] = []
        while len(found) < limit and (first := self._first()) is not None and first[0] <= at:
            heappop(self._heap)
            if not found or found[-1] != first:
                found.append(first)
        for entry in found:
            heappush(self._heap, entry)
        return [key for _, key in found]

    def _first(self) -> tuple[int, int] | None:
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0] if heap else None

    def _set(self, key: int, due: int | None) -> None:
        if due is None:
            self._due.pop(key, None)
            return
        self._due[key] = due
        heappush(self._heap, (due, key))
        if len(self._heap) > STALE_SHARE_MAX * len(self._due) + STALE_MIN:
            self._heap = [(when, one) for one, when in self._due.items()]
            heapify(self._heap)
