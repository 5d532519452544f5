r"""YAML or JSON text to plain data that knows the place of every value. Safe for text from strangers.

The rules this module keeps:

1. Nothing is built but text, numbers, truth values, lists and mappings; a tag is a fault.
2. Size, depth, aliases, and the number of values that they stand for, are bounded before anything is built.
3. ``no``, ``on`` and ``1:30`` are text as in YAML 1.2, so that ``country: no`` means Norway.
4. A key that stands twice in one mapping is a fault, not a silent overwrite.

>>> [root] = read("stages:\n  - name: canary")
>>> root.data, *root.mark_of(("stages", 0, "name"))
({'stages': [{'name': 'canary'}]}, 2, 11)
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml
from yaml import events

from controller.app.errors import InvalidDefinition
from controller.domain.validation import Fault

BYTES_MAX: Final = 1_000_000
ALIASES_MAX: Final = 64
KEY_LENGTH_MAX: Final = 200
DEPTH_MAX: Final = 24
VALUES_MAX: Final = 150_000
DOCUMENTS_MAX: Final = 64
FAULTS_MAX: Final = 200
"""How many faults are listed at most; looking for what was meant takes time for each."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR: Final = "tag:yaml.org,2002:str"
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATES: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")

Path = tuple[str | int, ...]
"""Keys and indices that lead from the root of a document to a value."""


class Mark(NamedTuple):
    """A place in the text, counted from 1."""

    line: int
    column: int


class Value:
    """One value of the text: its plain data, where it stands, and the values and keys inside it."""

    __slots__ = ("data", "inside", "keys", "mark", "size", "text")

    def __init__(self, data: object, mark: Mark, text: str = "") -> None:
        """Take plain data; `text` is what a scalar looked like, `size` the number of values it stands for."""
        self.data = data
        self.mark = mark
        self.text = text
        self.size = 1
        self.inside: dict[str | int, Value] = {}
        self.keys: dict[str | int, Mark] = {}

    def add(self, key: str | int, value: "Value") -> None:
        """Note a value inside this one."""
        self.inside[key] = value
        self.size += value.size

    def find(self, path: Path) -> tuple["Value", Path]:
        """Return the deepest value on the way along *path*, and what of the path is left there."""
        here = self
        for index, key in enumerate(path):
            if key not in here.inside:
                return here, path[index:]
            here = here.inside[key]
        return here, ()

    def mark_of(self, path: Path, *, of_key: bool = False) -> Mark:
        """Return where the value at *path* stands, or its key; where it is missing, what should hold it."""
        if of_key and path:
            holder, rest = self.find(path[:-1])
            if not rest and path[-1] in holder.keys:
                return holder.keys[path[-1]]
        return self.find(path)[0].mark


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(place="", message=f"{mark.line}:{mark.column}: {message}")


class _Reader:
    """Builds values from the parser's events; bounded, and free of any object but plain data."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, Value] = {}
        self._alias_count = 0
        self._value_count = 0
        self.faults: list[Fault] = []

    def documents(self) -> Iterator[Value]:
        """Yield the root of every document that is not empty."""
        for event in self._events:
            if isinstance(event, events.DocumentStartEvent):
                self._anchors.clear()
                root = self._value(next(self._events), 0)
                if root.data is not None:
                    yield root

    def _value(self, event: Any, depth: int) -> Value:
        mark = _mark(event)
        if depth > DEPTH_MAX:
            raise _Refused(mark, f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(event, events.AliasEvent):
            return self._counted(self._alias(event, mark), mark)
        value = Value(None, mark)
        if isinstance(event, events.ScalarEvent):
            value.text = event.value
            value.data = self._scalar(event, mark)
            self._counted(value, mark)
        elif isinstance(event, events.SequenceStartEvent):
            self._check_tag(event, mark)
            self._sequence(value, depth)
        else:
            self._check_tag(event, mark)
            self._mapping(value, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _counted(self, value: Value, mark: Mark) -> Value:
        self._value_count += value.size
        if self._value_count > VALUES_MAX:
            raise _Refused(mark, f"more than {VALUES_MAX} values")
        return value

    def _alias(self, event: Any, mark: Mark) -> Value:
        self._alias_count += 1
        if self._alias_count > ALIASES_MAX:
            raise _Refused(mark, f"more than {ALIASES_MAX} aliases")
        if event.anchor not in self._anchors:
            raise _Refused(mark, f"alias '*{event.anchor}' stands for no complete value before it")
        return self._anchors[event.anchor]

    def _sequence(self, value: Value, depth: int) -> None:
        items: list[object] = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            item = self._value(event, depth + 1)
            value.add(len(items), item)
            items.append(item.data)
        value.data = items

    def _mapping(self, value: Value, depth: int) -> None:
        data: dict[str, object] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key, mark = self._key(event), _mark(event)
            item = self._value(next(self._events), depth + 1)
            if key in data:
                self._fault(mark, f"the key {key!r} stands twice in one mapping")
            data[key] = item.data
            value.add(key, item)
            value.keys[key] = mark
        value.data = data

    def _key(self, event: Any) -> str:
        if not isinstance(event, events.ScalarEvent):
            raise _Refused(_mark(event), "expected text as a key")
        if self._scalar(event, _mark(event)) != event.value:
            self._fault(_mark(event), f'expected text as a key: write it in quotes, "{event.value}"')
        if len(event.value) > KEY_LENGTH_MAX:
            raise _Refused(_mark(event), f"a key of {len(event.value)} characters: expected at most {KEY_LENGTH_MAX}")
        return str(event.value)

    def _scalar(self, event: Any, mark: Mark) -> object:
        if event.tag not in {None, "!", _STR}:
            self._check_tag(event, mark)
        if event.tag is not None or not event.implicit[0]:
            return event.value
        if event.value in _WORDS:
            return _WORDS[event.value]
        if _INT.fullmatch(event.value):
            return int(event.value)
        return float(event.value) if _FLOAT.fullmatch(event.value) else event.value

    def _check_tag(self, event: Any, mark: Mark) -> None:
        if event.tag is not None:
            self._fault(mark, f"the tag {event.tag!r} has no meaning here; leave it out")

    def _fault(self, mark: Mark, message: str) -> None:
        if len(self.faults) >= FAULTS_MAX:
            raise _Refused(mark, f"more than {FAULTS_MAX} faults; the rest was not read")
        self.faults.append(Fault(place="", message=f"{mark.line}:{mark.column}: {message}"))


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _as_yaml(text: str) -> str:
    """Mend what makes JSON no YAML 1.1: tabs, surrogates, and characters that YAML wants escaped."""
    if not text.lstrip().startswith("{"):
        return text
    text = _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return _SURROGATES.sub(lambda pair: str(json.loads(f'"{pair[0]}"')), text).replace("\t", " ")


def _decode(raw: bytes | str) -> str:
    size = len(raw)
    if size > BYTES_MAX:
        raise _Refused(Mark(1, 1), f"a file of {size} bytes: expected at most {BYTES_MAX}")
    try:
        return raw if isinstance(raw, str) else raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused(Mark(1, 1), f"expected UTF-8: {error.reason} at byte {error.start}") from error


def _read(raw: bytes | str) -> list[Value]:
    reader = _Reader(_as_yaml(_decode(raw)))
    roots: list[Value] = []
    for root in reader.documents():
        roots.append(root)
        if len(roots) > DOCUMENTS_MAX:
            raise _Refused(root.mark, f"more than {DOCUMENTS_MAX} documents in one file")
    if reader.faults:
        raise InvalidDefinition("the file cannot be read", reader.faults)
    return roots


def read(raw: bytes | str) -> list[Value]:
    """Return the root of every document in a file; empty ones are left out.

    Raises:
        InvalidDefinition: when *raw* is no UTF-8, no YAML, beyond a limit, or against a rule of this module.
    """
    try:
        return _read(raw)
    except _Refused as error:
        raise InvalidDefinition("the file cannot be read", [error.fault]) from error
    except yaml.MarkedYAMLError as error:
        raise InvalidDefinition("the file is no YAML", [_syntax_fault(error)]) from error
    except yaml.YAMLError as error:
        raise InvalidDefinition("the file is no YAML", [Fault(place="", message=f"1:1: {error}")]) from error


def _syntax_fault(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
    return Fault(place="", message=f"{at}: {error.problem or error.context}")
