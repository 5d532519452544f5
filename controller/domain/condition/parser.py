"""From a text to a condition."""

import re
from functools import lru_cache
from typing import Final

from controller.domain.condition.tree import STATES, Compared, Condition, Figure, Joined, Measure, Not, Number, Value
from protocol.ids import StageName
from protocol.outputs import OUTPUT_NAME

LENGTH_MAX: Final = 500
DEPTH_MAX: Final = 16
_TOKEN: Final = re.compile(r'\s*(?:(-?\d{1,15}(?:\.\d{1,6})?)|"([^"]*)"|([a-z]+)|(&&|\|\||[=!<>]=|[<>!(),\[\]%]))')
_OUTPUT: Final = re.compile(OUTPUT_NAME)
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_MEASURES: Final = ("count", "share")
_FIGURES: Final = ("min", "max", "avg")


class ConditionFault(ValueError):
    """A text is no condition; the message says from which character on, and what was expected."""


@lru_cache(maxsize=256)
def parse(text: str) -> Condition:
    """Return a condition.

    Raises:
        ConditionFault: when the text is none.
    """
    if len(text) > LENGTH_MAX:
        raise ConditionFault(f"{len(text)} characters: expected at most {LENGTH_MAX}")
    return _Parser(text).whole()


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
        if compare not in _COMPARISONS:
            raise ConditionFault(f"character {place}: expected a comparison such as '>=', found {compare!r}")
        return Compared(left, compare, self._value())

    def _value(self) -> Value:
        if self._tokens[0][0] == "number":
            number = Number(float(self._tokens.pop(0)[1]))
            self._took("%")
            return number
        name = self._kind("word", *_MEASURES, *_FIGURES)
        self._expect("(")
        stage = StageName(self._kind("text"))
        value = self._figure(name, stage) if name in _FIGURES else self._measure(name, stage)
        self._expect(")")
        return value

    def _measure(self, name: str, stage: StageName) -> Measure:
        return Measure(name, stage, self._states() if self._took(",") else ())

    def _figure(self, name: str, stage: StageName) -> Figure:
        self._expect(",")
        place = self._tokens[0][2]
        output = self._kind("text")
        if not _OUTPUT.fullmatch(output):
            raise ConditionFault(f"character {place}: expected an output's name such as 'boot_ms', found {output!r}")
        return Figure(name, stage, output)

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
