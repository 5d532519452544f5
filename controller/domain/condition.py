"""Conditions of stages: whether a stage opens, by how many devices of the stages before it ended how.

    condition  = all { "||" all }
    all        = one { "&&" one }
    one        = [ "!" ] "(" condition ")" | value compare value
    value      = number [ "%" ] | ("count" | "share") "(" stage [ "," "state" ("==" text | "in" "[" texts "]") ] ")"

`count` is of devices, all of a stage unless states are named; `share` is per cent of all of them, 0 of none.

>>> counts = {StageName("eu"): {"succeeded": 9, "failed": 1}}
>>> judge('share("eu", state == "succeeded") >= 95%', counts)
Judgement(holds=False, numbers='share("eu", succeeded) is 90 %')
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, assert_never

import msgspec

from protocol.ids import StageName

LENGTH_MAX: Final = 500
DEPTH_MAX: Final = 16
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

_TOKEN: Final = re.compile(r'\s*(?:(\d{1,9}(?:\.\d{1,6})?)|"([^"]*)"|([a-z]+)|(&&|\|\||[=!<>]=|[<>!(),\[\]%]))')
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ConditionFault(ValueError):
    """A text is no condition; the message says from which character on, and what was expected."""


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


class Compared(msgspec.Struct, frozen=True):
    """Two values, and how they are compared."""

    left: Number | Measure
    compare: str
    right: Number | Measure


class Not(msgspec.Struct, frozen=True):
    """What does not hold."""

    part: "Condition"


class Joined(msgspec.Struct, frozen=True):
    """Parts of which all hold, or any."""

    is_all: bool
    parts: tuple["Condition", ...]


Condition = Compared | Not | Joined


class Judgement(NamedTuple):
    """Whether a condition holds, and the numbers that say so."""

    holds: bool
    numbers: str


def judge(text: str, counts: Mapping[StageName, Counts]) -> Judgement:
    """Say whether a condition that `parse` takes holds for these stages."""
    condition = parse(text)
    measures = dict.fromkeys(_measures(condition))
    numbers = (f"{m} is {m.of(counts):g}{' %' if m.name == 'share' else ''}" for m in measures)
    return Judgement(_holds(condition, counts), ", ".join(numbers))


def stages_of(condition: Condition) -> tuple[StageName, ...]:
    """Return the stages that a condition asks about."""
    return tuple(dict.fromkeys(measure.stage for measure in _measures(condition)))


@lru_cache(maxsize=256)
def parse(text: str) -> Condition:
    """Return a condition.

    Raises:
        ConditionFault: when the text is none.
    """
    if len(text) > LENGTH_MAX:
        raise ConditionFault(f"{len(text)} characters: expected at most {LENGTH_MAX}")
    return _Parser(text).whole()


def _holds(condition: Condition, counts: Mapping[StageName, Counts]) -> bool:
    match condition:
        case Compared(left=left, compare=compare, right=right):
            return _COMPARE[compare](_value(left, counts), _value(right, counts))
        case Not(part=part):
            return not _holds(part, counts)
        case Joined(is_all=is_all, parts=parts):
            return (all if is_all else any)(_holds(part, counts) for part in parts)
        case _:
            assert_never(condition)


def _value(value: Number | Measure, counts: Mapping[StageName, Counts]) -> float:
    return value.value if isinstance(value, Number) else value.of(counts)


def _measures(condition: Condition) -> Iterator[Measure]:
    match condition:
        case Compared(left=left, right=right):
            yield from (value for value in (left, right) if isinstance(value, Measure))
        case Not(part=part):
            yield from _measures(part)
        case Joined(parts=parts):
            for part in parts:
                yield from _measures(part)
        case _:
            assert_never(condition)


class _Parser:
    """One reading of a text, from its left to its right."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                rest = text[position:].lstrip()
                raise ConditionFault(f"character {len(text) - len(rest) + 1}: {rest[:10]!r} is not understood")
            kind = ("number", "text", "word", "mark")[(found.lastindex or 1) - 1]
            self._tokens.append((kind, found[found.lastindex or 1], found.start(found.lastindex or 1) + 1))
            position = found.end()
        self._tokens.append(("end", "the end", end + 1))
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._any()
        self._kind("end")
        return condition

    def _any(self) -> Condition:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ConditionFault(f"more than {DEPTH_MAX} conditions within each other")
        parts = [self._all()]
        while self._took("||"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Joined(is_all=False, parts=tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._took("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Joined(is_all=True, parts=tuple(parts))

    def _one(self) -> Condition:
        if self._took("!"):
            self._expect("(")  # as in queries: what is denied stands in parentheses
            return Not(self._closed())
        return self._closed() if self._took("(") else self._compared()

    def _closed(self) -> Condition:
        inner = self._any()
        self._expect(")")
        return inner

    def _compared(self) -> Condition:
        left = self._value()
        _, compare, place = self._tokens.pop(0)
        if compare not in _COMPARE:
            raise ConditionFault(f"character {place}: expected a comparison such as '>=', found {compare!r}")
        return Compared(left, compare, self._value())

    def _value(self) -> Number | Measure:
        if self._tokens[0][0] == "number":
            number = Number(float(self._tokens.pop(0)[1]))
            self._took("%")
            return number
        name = self._kind("word", "count", "share")
        self._expect("(")
        stage = StageName(self._kind("text"))
        states = self._states() if self._took(",") else ()
        self._expect(")")
        return Measure(name, stage, states)

    def _states(self) -> tuple[str, ...]:
        self._kind("word", "state")
        if self._took("=="):
            return (self._kind("text", *sorted(STATES)),)
        self._kind("word", "in")
        self._expect("[")
        states = [self._kind("text", *sorted(STATES))]
        while self._took(","):
            states.append(self._kind("text", *sorted(STATES)))
        self._expect("]")
        return tuple(dict.fromkeys(states))

    def _took(self, mark: str) -> bool:
        is_next = self._tokens[0][:2] == ("mark", mark)
        if is_next:
            self._tokens.pop(0)
        return is_next

    def _expect(self, mark: str) -> None:
        if not self._took(mark):
            raise ConditionFault(f"character {self._tokens[0][2]}: expected {mark!r}, found {self._tokens[0][1]!r}")

    def _kind(self, kind: str, *known: str) -> str:
        found, text, place = self._tokens[0]
        if found != kind or (known and text not in known):
            expected = " or ".join(map(repr, known)) or ("a name in quotes" if kind == "text" else f"the {kind}")
            raise ConditionFault(f"character {place}: expected {expected}, found {text!r}")
        self._tokens.pop(0)
        return text
