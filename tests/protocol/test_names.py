"""Identifiers and topics: nothing outside the alphabet gets through, and both directions agree."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from protocol.errors import InvalidName, MalformedMessage
from protocol.ids import (
    PARTITIONS,
    Name,
    device_id,
    digest_of,
    name_of,
    parse_digest,
    parse_part,
    partition_of,
    split_name,
    tenant_id,
)
from protocol.topics import TOPIC_LENGTH_MAX, Downlink, DownlinkKind, Uplink, UplinkKind, parse
from protocol.units import Instant, later

parts = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
all_names = st.builds(lambda tenant, device: name_of(tenant_id(tenant), device_id(device)), parts, parts)
topics = st.one_of(
    st.builds(Uplink, all_names, st.sampled_from(UplinkKind)),
    st.builds(Downlink, all_names, st.sampled_from(DownlinkKind)),
)

WRONG_PARTS = [
    "",
    "-a",
    "A",
    "ä",
    "a b",
    "a/b",
    "a+b",
    "a#",
    "a:b",
    "a\n",
    "\na",
    "a\0",
    "a" * 64,
    "a_b",
    "\uff0e",
    "\u0663",
]


@pytest.mark.parametrize("text", WRONG_PARTS)
def test_a_part_outside_its_alphabet_is_refused(text: str) -> None:
    for parser in (parse_part, tenant_id, device_id):
        with pytest.raises(InvalidName, match="expected 1 to 63"):
            parser(text)


@given(parts)
def test_a_part_within_its_alphabet_is_kept(text: str) -> None:
    assert parse_part(text) == text


@given(all_names)
def test_a_name_is_split_into_what_it_was_made_of(name: Name) -> None:
    assert name_of(*split_name(name)) == name
    assert 0 <= partition_of(name) < PARTITIONS


@pytest.mark.parametrize("text", ["", "acme", "acme:", ":kiosk", "a:b:c", "acme:kiosk\n", "acme/x:kiosk"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        split_name(text)


def test_digests() -> None:
    assert parse_digest(digest_of(b"")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for wrong in ("", "E" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "g" * 64):
        with pytest.raises(InvalidName, match="64 lower-case"):
            parse_digest(wrong)


@given(topics)
def test_a_topic_is_read_back_as_it_was_written(topic: Uplink | Downlink) -> None:
    assert parse(str(topic)) == topic
    assert len(str(topic)) <= TOPIC_LENGTH_MAX


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["tg", "1", "u", "d", "170", "acme:kiosk-17", "cmd"])).map("/".join)
)
def test_any_text_is_a_topic_or_malformed(text: str) -> None:
    try:
        topic = parse(text)
    except MalformedMessage:
        return
    assert str(topic) == text


WRONG_TOPICS = [
    "",
    "tg/1/u/171/acme:kiosk-17/hello",
    "tg/1/u/0170/acme:kiosk-17/hello",
    "tg/1/u/+/acme:kiosk-17/hello",
    "tg/1/u/170/acme:kiosk-17/cmd",
    "tg/1/d/acme:kiosk-17/hello",
    "tg/1/d/acme:kiosk-17/cmd/",
    "tg/1/d/acme:kiosk-17/#",
    "tg/1/d/+/cmd",
    "tg/2/d/acme:kiosk-17/cmd",
    "/tg/1/d/acme:kiosk-17/cmd",
    "tg/1/d/acme:KIOSK/cmd",
    "tg/1/d/" + "a" * 200 + ":b/cmd",
    "$SYS/broker",
]


@pytest.mark.parametrize("text", WRONG_TOPICS)
def test_what_is_no_topic_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse(text)


def test_an_instant_moves_by_milliseconds() -> None:
    assert later(Instant(5), 3) == 8
