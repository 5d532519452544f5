"""Whether a condition holds, and the numbers that say so."""

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, assert_never

from controller.domain.condition.parser import parse
from controller.domain.condition.tree import (
    Compared,
    Condition,
    Counts,
    Figure,
    Joined,
    Measure,
    Not,
    Number,
    Told,
    Value,
    asked,
)
from protocol.ids import StageName

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NOTHING_TOLD: Final[Mapping[StageName, Told]] = MappingProxyType({})


class Judgement(NamedTuple):
    """Whether a condition holds, and the numbers that say so."""

    holds: bool
    numbers: str


class _Results(NamedTuple):
    counts: Mapping[StageName, Counts]
    told: Mapping[StageName, Told]

    def of(self, value: Measure | Figure) -> float | None:
        return value.of(self.counts) if isinstance(value, Measure) else value.of(self.told)


def judge(text: str, counts: Mapping[StageName, Counts], told: Mapping[StageName, Told] = _NOTHING_TOLD) -> Judgement:
    """Say whether a condition that `parse` takes holds for these stages.

    What asks for a number that no device has told does not hold: nothing known is no good news, denied or not.
    """
    condition, results = parse(text), _Results(counts, told)
    values = {value: results.of(value) for value in asked(condition)}
    numbers = ", ".join(_said(value, number) for value, number in values.items())
    return Judgement(None not in values.values() and _holds(condition, results), numbers)


def _said(value: Measure | Figure, number: float | None) -> str:
    if number is None:
        return f"{value} is not known: no device has told it"
    return f"{value} is {number:g}{' %' if value.name == 'share' else ''}"


def _holds(condition: Condition, results: _Results) -> bool:
    match condition:
        case Compared(left=left, compare=compare, right=right):
            return _COMPARE[compare](_number(left, results), _number(right, results))
        case Not(part=part):
            return not _holds(part, results)
        case Joined(is_all=is_all, parts=parts):
            return (all if is_all else any)(_holds(part, results) for part in parts)
        case _:
            assert_never(condition)


def _number(value: Value, results: _Results) -> float:
    number = value.value if isinstance(value, Number) else results.of(value)
    assert number is not None, "a condition is compared only where all is known that it asks for"
    return number
