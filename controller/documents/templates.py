r"""Values in place of ``${name}`` in the stages of a definition.

The rules this module keeps:

1. Where a reference is all of a text, the value comes in its own type; within a text, as text.
2. In a query a value is a literal, in the condition of a stage a number: no value can become a part of either.
3. Names of stages, and thus who needs whom, are the same for all values.
4. ``$${`` is the text ``${``.

>>> expand(({"name": "all", "targets": {"query": "labels.ring == ${ring}"}, "pace": {"max_in_flight": "${n}"}},),
...        {"ring": 'a" || true', "n": 5}).stages
[{'name': 'all', 'targets': {'query': 'labels.ring == "a\\" || true"'}, 'pace': {'max_in_flight': 5}}]
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from controller.documents.source import BYTES_MAX, FAULTS_MAX, VALUES_MAX, Path
from controller.documents.units import shown
from controller.domain.hints import did_you_mean
from controller.domain.parameters import Value
from controller.domain.query.render import quoted

NAME: Final = r"[a-z][a-z0-9_-]{0,62}"
_REFERENCE: Final = re.compile(rf"\$\$\{{|\$\{{({NAME})\}}|\$\{{")
_WHOLE: Final = re.compile(rf"\$\{{({NAME})\}}")
_FIXED: Final = frozenset({"name", "needs"})
_QUERY: Final = ("targets", "query")
_CONDITION: Final = ("when",)
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?%?")


class Expanded(NamedTuple):
    """Stages with values in place, the parameters that were used, and what was wrong at which path."""

    stages: Any
    used: frozenset[str]
    faults: tuple[tuple[Path, str], ...]


def expand(stages: Any, values: Mapping[str, Value]) -> Expanded:
    """Put *values* in place of what refers to them; of lists, mappings and text, whatever is in them otherwise."""
    work = _Expansion(values)
    done = work.of(stages, ("stages",))
    return Expanded(done, frozenset(work.used), tuple(work.faults))


def escaped(stages: Any) -> Any:
    """Return stages in which nothing is a reference, as `expand` gives them back."""
    match stages:
        case str():
            return stages.replace("${", "$${")
        case list() | tuple():
            return [escaped(item) for item in stages]
        case dict():
            return {key: escaped(value) for key, value in stages.items()}
        case _:
            return stages


class _Expansion:
    """One expansion, bounded in what it makes."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self._left = BYTES_MAX
        self._values_left = VALUES_MAX
        self.used: set[str] = set()
        self.faults: list[tuple[Path, str]] = []

    def of(self, data: Any, path: Path) -> Any:
        match data:
            case str():
                return self._text(data, path) if "${" in data else data
            case list() | tuple():
                return [self.of(item, (*path, index)) for index, item in enumerate(data)]
            case dict():
                return {key: self.of(value, (*path, key)) for key, value in data.items()}
            case _:
                return data

    def _text(self, text: str, path: Path) -> Any:
        whole = _WHOLE.fullmatch(text)
        if whole is not None and path[2:] not in {_QUERY, _CONDITION}:
            value = self._value(whole[1], path)
            return text if value is None else list(value) if isinstance(value, tuple) else value
        return "".join(self._pieces(text, path))

    def _pieces(self, text: str, path: Path) -> Iterator[str]:
        end = 0
        for match in _REFERENCE.finditer(text):
            yield text[end : match.start()]
            end = match.end()
            if match[0] == "$${":
                yield "${"
            elif match[1] is None:
                self._fault(path, "expected a name as in ${name}; the text '${' itself is written '$${'")
            else:
                value = self._value(match[1], path)
                yield match[0] if value is None else self._put(value, path)
        yield text[end:]

    def _put(self, value: Value, path: Path) -> str:
        if path[2:] == _QUERY:
            return _literal(value)
        if path[2:] == _CONDITION and not _NUMBER.fullmatch(str(value)):
            self._fault(path, f"a condition takes numbers and shares alone, found {shown(value)}")
            return "0"
        if isinstance(value, tuple):
            self._fault(path, "a list cannot stand within a text: let it be all of the value")
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _value(self, name: str, path: Path) -> Value | None:
        stage_field = path[2] if len(path) > 2 else None  # noqa: PLR2004 - stages, index, field
        if stage_field in _FIXED:
            self._fault(path, f"the {stage_field} of a stage takes no parameter")
            return None
        if name not in self._values:
            hint = f"; {did_you_mean(name, self._values)}" if self._values else ""
            self._fault(path, f"no parameter is named {name!r}{hint}")
            return None
        self.used.add(name)
        value = self._values[name]
        return value if self._has_room(value, path) else None

    def _has_room(self, value: Value, path: Path) -> bool:
        parts = value if isinstance(value, tuple) else (str(value),)
        self._left -= sum(map(len, parts))
        self._values_left -= len(parts)
        has_room = self._left >= 0 and self._values_left >= 0
        if not has_room:
            self._fault(path, "the values make the definition too large")
        return has_room

    def _fault(self, path: Path, message: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append((path, message))


def _literal(value: Value) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return quoted(value)
        case _:
            return f"[{', '.join(map(quoted, value))}]"
