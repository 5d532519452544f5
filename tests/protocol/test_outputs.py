"""Outputs: what may be told, and how much of it."""

import math
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from protocol.codec import decode, encode
from protocol.errors import MalformedMessage
from protocol.messages import MeasureReport, StateReport
from protocol.outputs import OUTPUTS_BYTES_MAX, OUTPUTS_MAX, check_size, parse_outputs
from tests.protocol.samples import MESSAGES, OUTPUTS_BAD, OUTPUTS_FULL, OUTPUTS_GOOD

KINDS: dict[str, type[StateReport | MeasureReport]] = {"state-report": StateReport, "measure-report": MeasureReport}


def report_with(outputs: object, name: str) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(encode(MESSAGES[name])), "outputs": outputs})


def test_the_fullest_outputs_are_as_long_as_may_be() -> None:
    assert len(msgspec.json.encode(OUTPUTS_FULL)) == OUTPUTS_BYTES_MAX


@pytest.mark.parametrize("outputs", OUTPUTS_GOOD)
def test_outputs_are_read_as_they_were_written(outputs: dict[str, Any]) -> None:
    assert parse_outputs(msgspec.json.encode(outputs)) == outputs
    for name, kind in KINDS.items():
        assert decode(report_with(outputs, name), kind).outputs == outputs


@pytest.mark.parametrize("outputs", OUTPUTS_BAD)
def test_outputs_beyond_a_limit_are_none(outputs: dict[Any, Any]) -> None:
    with pytest.raises(MalformedMessage, match="outputs"):
        parse_outputs(msgspec.json.encode(outputs))
    for name, kind in KINDS.items():
        with pytest.raises(MalformedMessage, match="outputs"):
            decode(report_with(outputs, name), kind)


def test_an_agent_that_is_told_too_many_is_told_how_many() -> None:
    check_size({f"name_{number}": number for number in range(OUTPUTS_MAX)})
    with pytest.raises(ValueError, match="33 outputs: expected at most 32"):
        check_size({f"name_{number}": number for number in range(OUTPUTS_MAX + 1)})


def test_a_file_that_is_too_long_is_not_read_however_little_it_says() -> None:
    assert parse_outputs(b"{}" + b" " * (OUTPUTS_BYTES_MAX - 2)) == {}
    with pytest.raises(MalformedMessage, match="more than 4096 bytes"):
        parse_outputs(b"{}" + b" " * (OUTPUTS_BYTES_MAX - 1))


NO_OBJECTS = [
    b"",
    b"null",
    b"[]",
    b"1",
    b"{",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":1e999}',
    b"[" * 4_000,
    b'{"a":"\xff"}',
]


@pytest.mark.parametrize("raw", NO_OBJECTS)
def test_what_is_no_object_tells_nothing(raw: bytes) -> None:
    with pytest.raises(MalformedMessage, match="outputs"):
        parse_outputs(raw)


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: b'{"a":' + text.encode("utf-8", "replace")))
def test_any_bytes_are_outputs_or_malformed(raw: bytes) -> None:
    try:
        outputs = parse_outputs(raw)
    except MalformedMessage:
        return
    assert all(isinstance(value, str) or math.isfinite(value) for value in outputs.values())


def test_an_older_report_has_no_outputs() -> None:
    fields = msgspec.json.decode(encode(MESSAGES["state-report"]))
    del fields["outputs"]
    assert decode(msgspec.json.encode(fields), StateReport).outputs == {}
