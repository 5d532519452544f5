"""The reference of messages says what the code does, and every example in it is read by the code."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import pytest

from agent import fetch, mqtt, outbox, retry
from agent.core import answers, measures, model, reports
from controller.documents import BYTES_MAX
from controller.edge.codec import Code
from controller.edge.limits import Limits
from controller.http import schemas
from controller.signing.authority import CSR_LENGTH_MAX
from protocol import topics
from protocol.codec import decode
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.reasons import REISSUED, Reason, RejectCode
from protocol.topics import DownlinkKind, UplinkKind
from protocol.trust import DOCUMENT_BYTES_MAX
from protocol.units import DAY, HOUR, MINUTE, SECOND
from tests.docs.page import MESSAGES as PAGE
from tests.docs.page import made
from tests.docs.tables import KINDS, MEANINGS, fields
from tests.protocol.samples import MESSAGES

TEXT: Final = PAGE.read_text()
ENDPOINT: Final = Limits()
BLOCK: Final = re.compile(r"```json\n(.*?)\n```", re.DOTALL)
NAMED: Final = re.compile(r"<!-- (?:message |read as: )([\w-]+) -->\n\n```json\n(.*?)\n```", re.DOTALL)
HEX: Final = re.compile(r"0x[0-9A-F]{2}")
CHECK: Final = re.compile(r"^\| \d+ \| .*\| (.*) \|$", re.MULTILINE)
BODIES: Final[Mapping[str, Callable[[str], Any]]] = {
    "Enrolled": schemas.Enrolled.model_validate_json,
    "Enrol": schemas.Enrol.model_validate_json,
}


def test_the_tables_and_examples_are_what_the_code_makes() -> None:
    assert made(TEXT) == TEXT, "the protocol changed: write the page anew with 'make docs'"


def test_making_the_page_again_changes_nothing() -> None:
    assert made(made(TEXT)) == made(TEXT)


@pytest.mark.parametrize("name", KINDS)
def test_every_message_has_its_table(name: str) -> None:
    assert f"### {name}\n\n<!-- fields {name} -->\n\n{fields(name)}\n" in TEXT


@pytest.mark.parametrize("name", KINDS)
def test_every_field_has_a_meaning_and_no_meaning_lacks_its_field(name: str) -> None:
    info = msgspec.inspect.type_info(KINDS[name])
    assert isinstance(info, msgspec.inspect.StructType)
    names = {field.encode_name for field in info.fields} | ({info.tag_field} - {None})
    assert set(MEANINGS[name]) == names


def test_every_code_has_a_meaning_and_no_meaning_lacks_its_code() -> None:
    assert set(MEANINGS["reject-codes"]) == set(RejectCode)
    assert set(MEANINGS["reasons"]) == set(Reason)
    assert set(MEANINGS) == {*KINDS, "reject-codes", "reasons"}


def test_every_json_example_says_what_it_is() -> None:
    assert len(BLOCK.findall(TEXT)) == len(NAMED.findall(TEXT)) == len(MESSAGES) + len(BODIES)


@pytest.mark.parametrize(("name", "text"), NAMED.findall(TEXT), ids=lambda value: value[:20])
def test_every_json_example_is_read(name: str, text: str) -> None:
    if name in BODIES:
        BODIES[name](_with_real_texts(name, text))
    else:
        assert decode(text.encode(), type(MESSAGES[name])) == MESSAGES[name]


def _with_real_texts(name: str, text: str) -> str:
    """Put base64 where the page describes it in words."""
    assert set(msgspec.json.decode(text)) >= set(getattr(schemas, name).model_fields), "a field is missing"
    return re.sub(r'"base64 of [^"]*"', '"AAAA"', text)


def test_the_order_of_checks_names_every_reject_code() -> None:
    outcomes = " ".join(CHECK.findall(TEXT))
    assert {code for code in RejectCode if f"`{code}`" not in outcomes} == set()


@pytest.mark.parametrize("kind", [*UplinkKind, *DownlinkKind])
def test_every_topic_is_told(kind: str) -> None:
    assert re.search(rf"^\| `tg/1/[ud]/.*<name>/{kind}` \|", TEXT, re.MULTILINE)


LIMITS: Final = {
    "messages": f"| a message: the envelope, or what is not signed | {MESSAGE_BYTES_MAX:,} bytes |",
    "envelopes": f"at most {MESSAGE_BYTES_MAX:,} bytes, **before** parsing",
    "packets": f"| an MQTT packet to the built-in endpoint | {ENDPOINT.packet_bytes_max:,} bytes |",
    "packets down": f"at least {ENDPOINT.packet_bytes_max:,} bytes, where you name one",
    "topics": f"| a topic | {topics.TOPIC_LENGTH_MAX} characters |",
    "rate": f"| {ENDPOINT.packets_per_second:.0f} a second, {ENDPOINT.packets_burst} at once;",
    "window down": f"| messages down without PUBACK | {ENDPOINT.window};",
    "window up": f"at most {outbox.WINDOW} that have no PUBACK. "
    f"The built-in endpoint takes up to {ENDPOINT.uplink_window}.",
    "keepalive": f"gives {ENDPOINT.keepalive_s} s to whoever asks",
    "documents": f"| a TUF document | {DOCUMENT_BYTES_MAX:,} bytes |",
    "bodies": f"| the body of another HTTP request | {BYTES_MAX:,} bytes |",
    "signing request": f"at most {CSR_LENGTH_MAX:,} characters",
    "digests": f"the last {model.NOTED_MAX} digests that you took note of "
    f"and the last {model.REFUSED_MAX} that you refused",
    "reports": f"fewer than {model.REPORTS_OPEN_MAX} reports wait",
    "refusals": f"{model.REFUSALS_OPEN_MAX} unacknowledged refusals of signed commands and "
    f"{model.REFUSALS_UNSIGNED_OPEN_MAX} of others, and reports {reports.REFUSALS_PER_MINUTE} and\n"
    f"{reports.REFUSALS_UNSIGNED_PER_MINUTE} of them a minute",
    "measures": f"Let at least {measures.EVERY_MS_MIN // SECOND} s pass from one time to the next",
    "measures open": f"Have at most {model.MEASURES_OPEN_MAX} of these reports unacknowledged",
    "resend": f"again after {outbox.RESEND_MIN_MS // SECOND} s, then {outbox.RESEND_MIN_MS * 2 // SECOND} s, "
    f"doubling to {outbox.RESEND_MAX_MS // MINUTE} minutes",
    "hello": f"| an answer to a hello | {answers.HELLO_PATIENCE // SECOND} s,",
    "silence": f"take it as at least {answers.SILENCE_MIN // MINUTE} minute and "
    f"at most {answers.SILENCE_MAX // DAY} day",
    "spread": f"take it as at most {answers.SPREAD_MAX // HOUR} hour",
    "tries": f"at most {retry.CAP_MS // SECOND} s, {retry.TRIES_MAX} tries",
    "connect": f"at most {mqtt.BACKOFF_CAP_MS // MINUTE} minutes; after a connection that stood",
    "patience": f"at least {fetch.WAIT_MIN_MS // SECOND} and at most {fetch.WAIT_MAX_MS // SECOND}",
}


@pytest.mark.parametrize("sentence", LIMITS.values(), ids=LIMITS)
def test_every_limit_is_the_one_of_the_code(sentence: str) -> None:
    assert sentence in TEXT


def test_reasons_that_keep_a_refusal_open_are_told() -> None:
    codes = [f"`{code}`" for code in RejectCode if code in REISSUED]
    sentence = next(line for line in TEXT.split("\n\n") if "are not refused for good" in line)
    assert set(re.findall(r"`[a-z-]+`", sentence)) == set(codes)


def test_every_reason_code_of_mqtt_is_one_that_the_endpoint_knows() -> None:
    connecting = TEXT.partition("## Connecting")[2].partition("## Envelopes")[0]
    codes = {
        int(code, 16) for row in re.findall(r"^\| (0x.*?) \|", connecting, re.MULTILINE) for code in HEX.findall(row)
    }
    assert len(codes) > 10
    assert codes <= set(Code)
