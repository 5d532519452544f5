"""`controller.app.repositories.Credentials` in SQL."""

from typing import Final

import msgspec
import sqlalchemy as sa

from controller.app.records import ClaimRecord, TokenRecord
from controller.store.tables import claim, token
from protocol.units import Instant

INSERT_TOKEN: Final = sa.insert(token)
INSERT_CLAIM: Final = sa.insert(claim)
TOKENS: Final = sa.select(token).order_by(token.c.created_at.desc(), token.c.id)
BY_HASH: Final = sa.select(token).where(token.c.secret_sha256 == sa.bindparam("secret_sha256"))
REVOKE: Final = (
    sa.update(token)
    .where(token.c.id == sa.bindparam("b_id"))
    .values(revoked_at=sa.func.coalesce(token.c.revoked_at, sa.bindparam("at")))
)
SPEND: Final = (
    sa.update(claim)
    .where(claim.c.secret_sha256 == sa.bindparam("b_secret_sha256"))
    .where(claim.c.uses_left > 0, claim.c.expires_at > sa.bindparam("at"))
    .values(uses_left=claim.c.uses_left - 1)
)


class SqlCredentials:
    """Tokens of people and programs, and claims of devices."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def token_by_hash(self, secret_sha256: str) -> TokenRecord | None:
        row = self._connection.execute(BY_HASH, {"secret_sha256": secret_sha256}).mappings().one_or_none()
        return None if row is None else TokenRecord(**row)

    def tokens(self) -> list[TokenRecord]:
        return [TokenRecord(**row) for row in self._connection.execute(TOKENS).mappings()]

    def add_token(self, token: TokenRecord) -> None:
        self._connection.execute(INSERT_TOKEN, msgspec.structs.asdict(token))

    def revoke_token(self, token_id: str, *, at: Instant) -> bool:
        return self._connection.execute(REVOKE, {"b_id": token_id, "at": at}).rowcount > 0

    def add_claim(self, claim: ClaimRecord) -> None:
        self._connection.execute(INSERT_CLAIM, msgspec.structs.asdict(claim))

    def spend_claim(self, secret_sha256: str, *, at: Instant) -> bool:
        return self._connection.execute(SPEND, {"b_secret_sha256": secret_sha256, "at": at}).rowcount > 0
