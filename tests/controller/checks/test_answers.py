"""What a response says: only what is as expected is OK, and what cannot be read is no data."""

import json
from typing import Any

import pytest

from controller.checks.answers import at_pointer, page, samples
from controller.domain.gates.checks import AnswerKind, Http, Prometheus

OK, FAILED, NO_DATA = AnswerKind
DEEP = b"[" * 30_000 + b"]" * 30_000


@pytest.mark.parametrize(("status", "expected"), [(200, OK), (299, OK), (199, FAILED), (302, FAILED), (500, FAILED)])
def test_a_status_out_of_the_range_is_a_failure(status: int, expected: AnswerKind) -> None:
    assert page(Http(url="u"), status, b"").kind is expected


@pytest.mark.parametrize(
    ("pointer", "equals", "body", "expected"),
    [
        ("/a", '"up"', b'{"a": "up"}', OK),
        ("/a", '"up"', b'{"a": "down"}', FAILED),
        ("/a", "1", b'{"a": 1.0}', OK),
        ("/a", "1", b'{"a": true}', FAILED),
        ("/a", "true", b'{"a": 1}', FAILED),
        ("/a", "null", b'{"a": null}', OK),
        ("/a", "null", b"{}", NO_DATA),
        ("", "true", b"true", OK),
        ("/0/b", "2", b'[{"b": 2}]', OK),
        ("/00/b", "2", b'[{"b": 2}]', NO_DATA),
        ("/-1", "2", b"[2]", NO_DATA),
        ("/7", "2", b"[2]", NO_DATA),
        ("/a/b", "2", b'{"a": "text"}', NO_DATA),
        ("/a", "1", b"<html>", NO_DATA),
        ("/a", "1", b"", NO_DATA),
        ("/a", "1", b"\xff\xfe", NO_DATA),
        ("/a", "1", DEEP, NO_DATA),
    ],
)
def test_json_is_compared_at_a_pointer(pointer: str, equals: str, body: bytes, expected: AnswerKind) -> None:
    assert page(Http(url="u", pointer=pointer, equals=equals), 200, body).kind is expected


def test_a_status_counts_before_the_body() -> None:
    assert page(Http(url="u", pointer="/a", equals="1"), 503, b'{"a": 1}').kind is FAILED


def test_pointers_follow_rfc_6901() -> None:
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8}
    told = {"/foo/0": "bar", "/": 0, "/a~1b": 1, "/m~0n": 8}
    assert {pointer: at_pointer(document, pointer) for pointer in told} == told
    assert at_pointer(document, "") == document


def vector(*values: Any) -> bytes:
    result = [{"metric": {}, "value": [1_700_000_000.5, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


SCALAR = b'{"status": "success", "data": {"resultType": "scalar", "result": [1, "0.5"]}}'
MATRIX = b'{"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, "0.5"]]}]}}'


@pytest.mark.parametrize(
    ("limits", "status", "body", "expected"),
    [
        ({"below": 1}, 200, vector("0.5"), OK),
        ({"below": 1}, 200, vector("1"), FAILED),
        ({"below": 1}, 200, vector("0.5", "2"), FAILED),
        ({"below": 1}, 200, vector("-Inf"), OK),
        ({"below": 1}, 200, vector("+Inf"), FAILED),
        ({"above": 1}, 200, vector("2", "3"), OK),
        ({"above": 1}, 200, vector("1"), FAILED),
        ({"above": 1}, 200, vector("2", "0"), FAILED),
        ({"below": 1}, 200, SCALAR, OK),
        ({"below": 1}, 200, vector(), NO_DATA),
        ({"below": 1}, 200, vector("NaN"), NO_DATA),
        ({"below": 1}, 200, vector("0.5", "NaN"), NO_DATA),
        ({"above": 1}, 200, vector("5", "NaN"), NO_DATA),
        ({"below": 1}, 200, vector("many"), NO_DATA),
        ({"below": 1}, 200, vector(0.5), NO_DATA),
        ({"below": 1}, 200, MATRIX, NO_DATA),
        ({"below": 1}, 200, b'{"status": "error"}', NO_DATA),
        ({"below": 1}, 200, b"<html>", NO_DATA),
        ({"below": 1}, 200, DEEP, NO_DATA),
        ({"below": 1}, 422, vector("0.5"), NO_DATA),
        ({"below": 1}, 302, vector("0.5"), NO_DATA),
    ],
)
def test_every_sample_must_be_within_the_limit(
    limits: dict[str, float], status: int, body: bytes, expected: AnswerKind
) -> None:
    assert samples(Prometheus(url="u", query="q", **limits), status, body).kind is expected
