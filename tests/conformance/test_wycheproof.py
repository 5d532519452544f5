"""Project Wycheproof's Ed25519 vectors: forged, malleable and mangled signatures that some verifiers accept."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from protocol.keys import Ed25519Verify

FILE = Path(__file__).parent / "vendored" / "wycheproof_ed25519.json"
SHA256 = "752d2ea7d7c6cf4736381b6cbacb61f8182b126ab7cd9b058f00c50084975536"


def cases() -> list[Any]:
    groups = json.loads(FILE.read_text())["testGroups"]
    return [
        pytest.param(group["publicKey"]["pk"], test, id=f"tc{test['tcId']}")
        for group in groups
        for test in group["tests"]
    ]


def test_the_vectors_are_those_that_were_vendored() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256
    assert len(cases()) == 151


@pytest.mark.parametrize(("public", "test"), cases())
def test_a_signature_is_judged_as_it_should_be(public: str, test: dict[str, str]) -> None:
    key = Ed25519Verify(bytes.fromhex(public))

    is_signature = key.is_signature(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))

    assert is_signature == (test["result"] == "valid")
