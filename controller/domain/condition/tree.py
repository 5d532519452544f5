"""Conditions as data."""

from collections.abc import Iterator, Mapping
from typing import Final, assert_never

import msgspec

from controller.domain.outputs import Summary
from protocol.ids import StageName

STATES: Final = (
    "queued",
    "in_progress",
    "succeeded",
    "failed",
    "rejected",
    "timed_out",
    "cancelled",
    "removed",
)
"""The states of a device in a run. Definitions come before what is made of them, so they are named here once more."""

Counts = Mapping[str, int]
"""How many devices of a stage are in each of `STATES`; what is not named is 0."""
Told = Mapping[str, Summary]
"""The numbers that devices of a stage told, by the name of the output."""


class Number(msgspec.Struct, frozen=True):
    """A number as it is written."""

    value: float


class Measure(msgspec.Struct, frozen=True):
    """The count or share of a stage's devices in some states, of all of them where none is named."""

    name: str
    stage: StageName
    states: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as the reason of a verdict names it."""
        return f'{self.name}("{self.stage}"{", " if self.states else ""}{" or ".join(self.states)})'

    def of(self, counts: Mapping[StageName, Counts]) -> float:
        """Return the number that it is."""
        own = counts[self.stage]
        total = sum(own.values())
        counted = sum(own.get(state, 0) for state in self.states or STATES)
        return counted if self.name == "count" else (100 * counted / total if total else 0.0)


class Figure(msgspec.Struct, frozen=True):
    """The least, the greatest or the average number that devices of a stage told under one name."""

    name: str
    stage: StageName
    output: str

    def __str__(self) -> str:
        """Return it as the reason of a verdict names it."""
        return f'{self.name}("{self.stage}", "{self.output}")'

    def of(self, told: Mapping[StageName, Told]) -> float | None:
        """Return the number that it is, None where no device has told one."""
        summary = told.get(self.stage, {}).get(self.output)
        if summary is None:
            return None
        return {"min": summary.least, "max": summary.greatest}.get(self.name, summary.average)


Value = Number | Measure | Figure


class Compared(msgspec.Struct, frozen=True):
    """Two values, and how they are compared."""

    left: Value
    compare: str
    right: Value


class Not(msgspec.Struct, frozen=True):
    """What does not hold."""

    part: "Condition"


class Joined(msgspec.Struct, frozen=True):
    """Parts of which all hold, or any."""

    is_all: bool
    parts: tuple["Condition", ...]


Condition = Compared | Not | Joined


def stages_of(condition: Condition) -> tuple[StageName, ...]:
    """Return the stages that a condition asks about."""
    return tuple(dict.fromkeys(value.stage for value in asked(condition)))


def outputs_of(condition: Condition) -> frozenset[tuple[StageName, str]]:
    """Return the outputs that a condition asks about, each with its stage."""
    return frozenset((value.stage, value.output) for value in asked(condition) if isinstance(value, Figure))


def asked(condition: Condition) -> Iterator[Measure | Figure]:
    """Yield what a condition asks for, in the order in which it is written."""
    match condition:
        case Compared(left=left, right=right):
            yield from (value for value in (left, right) if not isinstance(value, Number))
        case Not(part=part):
            yield from asked(part)
        case Joined(parts=parts):
            for part in parts:
                yield from asked(part)
        case _:
            assert_never(condition)
