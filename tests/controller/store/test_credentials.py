"""Tokens of people and programs, and claims of devices."""

from controller.app.records import ClaimRecord, TokenRecord
from controller.store.transaction import SqlTransaction
from protocol.units import Instant
from tests.controller.store.samples import NOW, at


def token(name: str, created_at: Instant = NOW) -> TokenRecord:
    return TokenRecord(
        id=f"id-{name}", name=name, role="operator", secret_sha256=name, created_at=created_at, expires_at=None
    )


def test_tokens_are_found_by_hash_and_listed_newest_first(tx: SqlTransaction) -> None:
    old, new = token("old"), token("new", at(5))
    tx.credentials.add_token(old)
    tx.credentials.add_token(new)
    assert tx.credentials.token_by_hash("old") == old
    assert tx.credentials.token_by_hash("none") is None
    assert tx.credentials.tokens() == [new, old]


def test_revoking_keeps_the_first_time(tx: SqlTransaction) -> None:
    tx.credentials.add_token(token("a"))
    assert tx.credentials.revoke_token("id-a", at=at(1))
    assert tx.credentials.revoke_token("id-a", at=at(2))
    assert not tx.credentials.revoke_token("id-b", at=at(1))
    assert tx.credentials.tokens()[0].revoked_at == at(1)


def test_a_claim_is_spent_as_often_as_it_may_be(tx: SqlTransaction) -> None:
    tx.credentials.add_claim(ClaimRecord(id="c", secret_sha256="s", uses_left=2, expires_at=at(10)))
    assert not tx.credentials.spend_claim("other", at=NOW)
    assert tx.credentials.spend_claim("s", at=NOW)
    assert tx.credentials.spend_claim("s", at=at(9))
    assert not tx.credentials.spend_claim("s", at=at(9))


def test_an_expired_claim_is_worth_nothing(tx: SqlTransaction) -> None:
    tx.credentials.add_claim(ClaimRecord(id="c", secret_sha256="s", uses_left=2, expires_at=at(10)))
    assert not tx.credentials.spend_claim("s", at=at(10))
