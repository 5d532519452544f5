"""A planted bug, and the hunt for it: seeds are played until the law that forbids the bug complains.

To add one: write a function that takes the patch and breaks the real code, in the module named after what it breaks,
and decorate it with `planted`. Wrap the original where that is possible, so that the bug outlives a refactoring. Where
the target is gone, planting fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any, Final

import pytest

from simulator.virtual.fuzz import replay
from simulator.virtual.laws.law import Law
from simulator.virtual.trial import Outcome

SEEDS_MAX: Final = 2_000

LawName = type[Law] | str
Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One bug: what is wrong, which laws may find it, how it is planted, and the seed from which it is hunted.

    `first_seed` spares time where a bug shows rarely; it lies well before a known hit, so that no one seed matters.
    """

    name: str
    says: str
    laws: tuple[LawName, ...]
    plant: Plant
    first_seed: int = 1

    def breaks(self, violation: str) -> bool:
        """Say whether a violation is of one of the expected laws."""
        return violation.startswith(tuple(law if isinstance(law, str) else f"{law.__name__} " for law in self.laws))


@dataclass(frozen=True, kw_only=True)
class Hunt:
    """How a hunt went: the seed that found the bug, the law's words, seeds played, and seconds of one core."""

    seed: int
    violation: str
    seed_count: int
    seconds: float


def planted(says: str, *laws: LawName, first_seed: int = 1) -> Callable[[Plant], Planted]:
    """Make a planted bug of the function that plants it."""

    def made(plant: Plant) -> Planted:
        return Planted(name=plant.__name__, says=says, laws=laws, plant=plant, first_seed=first_seed)

    return made


def wrap(patch: pytest.MonkeyPatch, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    """Replace what *owner* has under *name* by what *around* makes of it.

    Raises:
        AttributeError: when there is no such name.
    """
    patch.setattr(owner, name, around(getattr(owner, name)))


def play(seed: int) -> Outcome:
    """Return what comes of a seed now, with whatever is planted."""
    return replay(seed)


def hunt(bug: Planted, *, first_seed: int | None = None, seeds_max: int = SEEDS_MAX) -> Hunt | None:
    """Return how the bug was found, or None where it was not.

    A seed counts only where the expected law complains with the bug, and nothing at all without it.
    """
    first, began = bug.first_seed if first_seed is None else first_seed, process_time()
    for seed in range(first, first + seeds_max):
        with pytest.MonkeyPatch.context() as patch:
            bug.plant(patch)
            violations = play(seed).violations
        if violations and bug.breaks(violations[0]) and play(seed).is_good:
            spent = process_time() - began
            return Hunt(seed=seed, violation=violations[0], seed_count=seed - first + 1, seconds=spent)
    return None
