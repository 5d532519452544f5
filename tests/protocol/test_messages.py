"""Bytes to message and back: total, exact, bounded."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from protocol.codec import decode, encode
from protocol.errors import MalformedMessage
from protocol.ids import Name
from protocol.messages import (
    MESSAGE_BYTES_MAX,
    Command,
    HealthReport,
    Hello,
    MeasureReport,
    Message,
    Op,
    PayloadType,
    RefusalReport,
    Report,
    StateReport,
)
from protocol.outputs import OUTPUT_NAME
from protocol.units import INTEGER_MAX
from tests.protocol.samples import DIGEST, MESSAGES

KINDS = {name: type(message) for name, message in MESSAGES.items()}
counts = st.integers(0, INTEGER_MAX)
reports = st.builds(
    StateReport,
    device=st.just(Name("acme:kiosk-17")),
    incarnation=st.from_regex("[0-9a-f]{16}", fullmatch=True),
    report_seq=st.integers(1, INTEGER_MAX),
    at=counts,
    command=st.just(DIGEST),
    run=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    attempt=counts,
    detail=st.text(st.characters(exclude_categories=["Cs"]), max_size=1_000),
    outputs=st.dictionaries(
        st.from_regex(OUTPUT_NAME, fullmatch=True),
        st.integers(-INTEGER_MAX, INTEGER_MAX)
        | st.floats(-INTEGER_MAX, INTEGER_MAX)
        | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=256),
        max_size=4,
    ),
)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_comes_back_as_it_was_sent(name: str) -> None:
    raw = encode(MESSAGES[name])
    assert decode(raw, KINDS[name]) == MESSAGES[name]
    assert encode(decode(raw, KINDS[name])) == raw


@given(reports)
def test_reports_round_trip(report: StateReport) -> None:
    assert decode(encode(report), Report) == report  # type: ignore[arg-type]


def test_a_report_is_told_by_its_kind() -> None:
    kinds = {
        "state-report": StateReport,
        "refusal-report": RefusalReport,
        "health-report": HealthReport,
        "measure-report": MeasureReport,
    }
    for name, kind in kinds.items():
        assert isinstance(decode(encode(MESSAGES[name]), Report), kind)  # type: ignore[arg-type]
    with pytest.raises(MalformedMessage, match="a message"):
        decode(b'{"kind":"other"}', Report)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MESSAGES)
def test_unknown_fields_are_ignored(name: str) -> None:
    fields = msgspec.json.decode(encode(MESSAGES[name]))
    newer = {"zz_new": {"deep": [1, {"er": None}]}, **fields}
    assert decode(encode(newer), KINDS[name]) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_that_is_needed_is_asked_for(name: str) -> None:
    needed = {field.encode_name for field in msgspec.structs.fields(KINDS[name]) if field.required}
    assert needed
    fields = msgspec.json.decode(encode(MESSAGES[name]))
    for missing in needed:
        with pytest.raises(MalformedMessage, match=missing):
            decode(encode({key: value for key, value in fields.items() if key != missing}), KINDS[name])


def integers(name: str) -> list[str]:
    return [key for key, value in msgspec.json.decode(encode(MESSAGES[name])).items() if isinstance(value, int)]


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in MESSAGES for field in integers(name)])
@pytest.mark.parametrize("value", [-1, INTEGER_MAX + 1, 2**64, 2**200, 1.5, "7", None, True])
def test_integers_stay_within_what_every_reader_keeps(name: str, field: str, value: Any) -> None:
    fields = msgspec.json.decode(encode(MESSAGES[name]))
    fields[field] = INTEGER_MAX
    decode(encode(fields), KINDS[name])
    with pytest.raises(MalformedMessage, match=field):
        decode(
            msgspec.json.encode({**fields, field: value} if value != 2**200 else {**fields, field: 1e200}), KINDS[name]
        )


BOMBS = [
    b"[" * MESSAGE_BYTES_MAX,
    b'{"a":' * (MESSAGE_BYTES_MAX // 5),
    b'{"zz":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
    b'{"seq":' + b"9" * 16_000 + b"}",
    b'{"seq":1e999999999}',
    b'"' + b"\\u0000" * 2_700 + b'"',
    b'{"device":"\\ud800"}',
    b'{"device":"\xff"}',
    b"\xef\xbb\xbf{}",
    b"",
    b"null",
    b"{}{}",
]


@pytest.mark.parametrize("raw", BOMBS)
@pytest.mark.parametrize("kind", [*KINDS.values(), Report])
def test_hostile_bytes_are_malformed_and_nothing_worse(raw: bytes, kind: Any) -> None:
    with pytest.raises(MalformedMessage):
        decode(raw, kind)


@given(st.binary(max_size=300), st.sampled_from([*KINDS.values()]))
def test_any_bytes_are_a_message_or_malformed(raw: bytes, kind: type[Message]) -> None:
    try:
        decode(raw, kind)
    except MalformedMessage:
        return


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_torn_anywhere_is_malformed(name: str) -> None:
    raw = encode(MESSAGES[name])
    for length in range(len(raw)):
        with pytest.raises(MalformedMessage):
            decode(raw[:length], KINDS[name])


def test_size_is_judged_before_anything_is_parsed() -> None:
    raw = encode(MESSAGES["hello"])
    padded = raw + b" " * (MESSAGE_BYTES_MAX - len(raw))
    assert decode(padded, Hello) == MESSAGES["hello"]
    with pytest.raises(MalformedMessage, match="16385 bytes: expected at most 16384"):
        decode(padded + b" ", Hello)
    with pytest.raises(MalformedMessage, match="expected at most 9"):
        decode(raw, Hello, bytes_max=9)


def patterned(name: str) -> list[str]:
    fields = msgspec.json.decode(encode(MESSAGES[name]))
    return [key for key in ("nonce", "incarnation", "command", "body_sha256") if key in fields]


@pytest.mark.parametrize("name", ["hello", "state-report", "refusal-report", "request"])
def test_hexadecimal_fields_hold_nothing_else(name: str) -> None:
    fields = msgspec.json.decode(encode(MESSAGES[name]))
    for field in patterned(name):
        for wrong in (fields[field] + "\n", fields[field].upper() + "A", fields[field][1:], "g" + fields[field][1:]):
            with pytest.raises(MalformedMessage, match=field):
                decode(encode({**fields, field: wrong}), KINDS[name])


def test_an_error_names_the_message_and_the_field() -> None:
    with pytest.raises(MalformedMessage, match=r"expected Command: .*`\$\.seq`"):
        decode(encode({**msgspec.json.decode(encode(MESSAGES["command"])), "seq": "x"}), Command)


def test_control_operations_act_on_work_in_hand() -> None:
    assert [op.value for op in Op if op.is_control] == ["hold", "go", "cancel"]


def test_payload_types_are_all_different() -> None:
    assert len({kind.value for kind in PayloadType}) == len(PayloadType) == 6
