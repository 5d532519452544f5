"""A set of numbers that is always in order: a bitmap of bitmaps.

Numbers are positions, counted from 0 and dense. Adding, taking out and finding the first cost about the same for ten
of them and for a million; each bitmap is a whole number that is replaced, so that a change is easily taken back.

>>> journal = Journal()
>>> places = Ordered(journal)
>>> journal.run(lambda: [places.add(number) for number in (5_000, 7, 3)])
[None, None, None]
>>> list(places.ascending()), list(places.ascending(4))
([3, 7, 5000], [7, 5000])
"""

from collections.abc import Iterator
from typing import Final

from simulator.memory.journal import Journal

BLOCK_BITS: Final = 10
_IN_BLOCK: Final = (1 << BLOCK_BITS) - 1
_ALL: Final = -1
"""The key of the bitmap that says which blocks are not empty."""


class Ordered:
    """Positions in ascending order."""

    def __init__(self, journal: Journal) -> None:
        """Begin empty; changes are noted in *journal*."""
        self._journal = journal
        self._bits: dict[int, int] = {_ALL: 0}

    def add(self, position: int) -> None:
        """Take in a position; one that is there already stays."""
        block, bits = self._block(position)
        self._journal.put(self._bits, block, bits | 1 << (position & _IN_BLOCK))
        if not bits:
            self._journal.put(self._bits, _ALL, self._bits[_ALL] | 1 << block)

    def discard(self, position: int) -> None:
        """Take out a position, if it is there."""
        block, bits = self._block(position)
        rest = bits & ~(1 << (position & _IN_BLOCK))
        if rest == bits:
            return
        self._journal.put(self._bits, block, rest)
        if not rest:
            self._journal.put(self._bits, _ALL, self._bits[_ALL] ^ 1 << block)

    def ascending(self, first: int = 0) -> Iterator[int]:
        """Yield the positions from *first* on."""
        start = first >> BLOCK_BITS
        for block in _ones(_from(self._bits[_ALL], start)):
            bits = self._bits[block]
            for place in _ones(_from(bits, first & _IN_BLOCK) if block == start else bits):
                yield block << BLOCK_BITS | place

    def _block(self, position: int) -> tuple[int, int]:
        block = position >> BLOCK_BITS
        return block, self._bits.get(block, 0)


def _from(bits: int, place: int) -> int:
    """Return *bits* without those below *place*."""
    return bits >> place << place


def _ones(bits: int) -> Iterator[int]:
    """Yield the places of the bits that are set, the lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
