"""`controller.app.repositories.Credentials` in memory."""

import msgspec

from controller.app.records import ClaimRecord, TokenRecord
from protocol.units import Instant
from simulator.memory.journal import Journal


class MemoryCredentials:
    """Tokens of people and programs, and claims of devices, each by its id and by the hash of its secret."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tokens: dict[str, TokenRecord] = {}
        self._token_ids: dict[str, str] = {}
        self._claims: dict[str, ClaimRecord] = {}
        self._claim_ids: dict[str, str] = {}

    def token_by_hash(self, secret_sha256: str) -> TokenRecord | None:
        token_id = self._token_ids.get(secret_sha256)
        return None if token_id is None else self._tokens[token_id]

    def tokens(self) -> list[TokenRecord]:
        return sorted(self._tokens.values(), key=lambda token: (-token.created_at, token.id))

    def add_token(self, token: TokenRecord) -> None:
        assert token.id not in self._tokens, f"two tokens have the id {token.id!r}"
        assert token.secret_sha256 not in self._token_ids, "two tokens have one secret"
        self._journal.put(self._tokens, token.id, token)
        self._journal.put(self._token_ids, token.secret_sha256, token.id)

    def revoke_token(self, token_id: str, *, at: Instant) -> bool:
        token = self._tokens.get(token_id)
        if token is None:
            return False
        if token.revoked_at is None:
            self._journal.put(self._tokens, token_id, msgspec.structs.replace(token, revoked_at=at))
        return True

    def add_claim(self, claim: ClaimRecord) -> None:
        assert claim.id not in self._claims, f"two claims have the id {claim.id!r}"
        assert claim.secret_sha256 not in self._claim_ids, "two claims have one secret"
        self._journal.put(self._claims, claim.id, claim)
        self._journal.put(self._claim_ids, claim.secret_sha256, claim.id)

    def spend_claim(self, secret_sha256: str, *, at: Instant) -> bool:
        claim_id = self._claim_ids.get(secret_sha256)
        claim = None if claim_id is None else self._claims[claim_id]
        if claim is None or claim.uses_left <= 0 or claim.expires_at <= at:
            return False
        self._journal.put(self._claims, claim.id, msgspec.structs.replace(claim, uses_left=claim.uses_left - 1))
        return True
