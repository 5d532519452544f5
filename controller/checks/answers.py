"""What an HTTP response says: whether a page is as expected, and whether samples of Prometheus are within their limit.

>>> page(Http(url="https://a.example", pointer="/status", equals='"up"'), 200, b'{"status": "up"}')
Answer(kind=<AnswerKind.OK: 'ok'>, evidence='status 200, /status is "up"')
>>> samples(Prometheus(url="https://a.example", query="up", below=1), 200, b"{}").kind
<AnswerKind.NO_DATA: 'no_data'>
"""

import math
from typing import Any, Final, Literal

import msgspec

from controller.domain.gates.checks import Answer, AnswerKind, Http, Prometheus

SHOWN_LENGTH_MAX: Final = 80
HTTP_OK: Final = 200
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Sample(msgspec.Struct, frozen=True):
    """One sample of an instant vector: its time and its value."""

    value: tuple[float, str]


class Vector(msgspec.Struct, frozen=True, tag_field="resultType", tag="vector"):
    """A vector of samples."""

    result: tuple[Sample, ...]


class Scalar(msgspec.Struct, frozen=True, tag_field="resultType", tag="scalar"):
    """One number, with its time."""

    result: tuple[float, str]


class Reply(msgspec.Struct, frozen=True):
    """An answer of Prometheus (HTTP API, instant queries); any other shape is no data."""

    status: Literal["success"]
    data: Vector | Scalar


def no_data(evidence: str) -> Answer:
    """Return that nothing was learnt, and why."""
    return Answer(kind=AnswerKind.NO_DATA, evidence=evidence)


def page(source: Http, status: int, body: bytes) -> Answer:
    """Return whether a page is as expected."""
    if not source.status_min <= status <= source.status_max:
        expected = f"{source.status_min}..{source.status_max}"
        return Answer(kind=AnswerKind.FAILED, evidence=f"status {status}, expected {expected}")
    if source.pointer is None:
        return Answer(kind=AnswerKind.OK, evidence=f"status {status}")
    try:
        found = at_pointer(msgspec.json.decode(body), source.pointer)
    except _BROKEN:
        return no_data(f"status {status}, and the body is no JSON")
    except LookupError:
        return no_data(f"status {status}, and the body has nothing at {source.pointer or 'its root'}")
    is_ok = _is_same(found, msgspec.json.decode(source.equals))
    shown = msgspec.json.encode(found).decode()[:SHOWN_LENGTH_MAX]
    said = f"status {status}, {source.pointer or 'the body'} is {shown}"
    return Answer(kind=AnswerKind.OK, evidence=said) if is_ok else _failed(f"{said}, expected {source.equals}")


def samples(source: Prometheus, status: int, body: bytes) -> Answer:
    """Return whether every sample of a query is within its limit; none at all, or one that is no number, is no data."""
    if status != HTTP_OK:
        return no_data(f"status {status}")
    try:
        data = msgspec.json.decode(body, type=Reply).data
        values = [float(text) for _, text in _pairs(data)]
    except (*_BROKEN, ValueError):
        return no_data("the answer is no vector of samples")
    if not values:
        return no_data("the query has no sample")
    if any(math.isnan(value) for value in values):
        return no_data("a sample is not a number")
    return _limited(source, values)


def at_pointer(data: Any, pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) leads to.

    Raises:
        LookupError: when it leads nowhere.

    >>> at_pointer({"a/b": [1, {"~": 2}]}, "/a~1b/1/~0")
    2
    """
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        match data:
            case dict():
                data = data[key]
            case list() if key.isascii() and key.isdecimal() and str(int(key)) == key:
                data = data[int(key)]
            case _:
                raise LookupError(pointer)
    return data


def _pairs(data: Vector | Scalar) -> list[tuple[float, str]]:
    return [data.result] if isinstance(data, Scalar) else [sample.value for sample in data.result]


def _limited(source: Prometheus, values: list[float]) -> Answer:
    """Compare the worst sample, which stands for all."""
    if source.below is not None:
        worst, is_ok, limit = max(values), max(values) < source.below, f"below {source.below:g}"
    else:
        assert source.above is not None, "a query has one limit"
        worst, is_ok, limit = min(values), min(values) > source.above, f"above {source.above:g}"
    among = "" if len(values) == 1 else f" as the worst of {len(values)}"
    said = f"{worst:g}{among}, expected {limit}"
    return Answer(kind=AnswerKind.OK, evidence=said) if is_ok else _failed(said)


def _is_same(found: Any, expected: Any) -> bool:
    """Compare as JSON does: true is not 1, and 1 is 1.0."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    return bool(found == expected)


def _failed(evidence: str) -> Answer:
    return Answer(kind=AnswerKind.FAILED, evidence=evidence)
