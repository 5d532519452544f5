"""What belongs to the tenant as a whole."""

from typing import Protocol

from controller.app.records import (
    ClaimRecord,
    FreezeRecord,
    StandstillRecord,
    TokenRecord,
)
from protocol.units import Instant


class Tenant(Protocol):
    """What holds for everything at once."""

    def standstill(self) -> StandstillRecord | None:
        """Return the standstill, or None while nothing stops everything."""

    def stand_still(self, record: StandstillRecord) -> None:
        """Store that everything is stopped; there must be no standstill."""

    def lift_standstill(self) -> None:
        """Store that nothing stops everything any more."""

    def freezes(self) -> list[FreezeRecord]:
        """Return the freeze calendar, the freeze that begins first first."""

    def add_freeze(self, record: FreezeRecord) -> None:
        """Insert a freeze; there must be none of its name."""

    def drop_freeze(self, name: str) -> None:
        """Delete a freeze that there is."""


class Credentials(Protocol):
    """Tokens of people and programs, and claims of devices."""

    def token_by_hash(self, secret_sha256: str) -> TokenRecord | None:
        """Return a token, or None."""

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, newest first."""

    def add_token(self, token: TokenRecord) -> None:
        """Insert a token."""

    def revoke_token(self, token_id: str, *, at: Instant) -> bool:
        """Revoke a token; say whether there was one."""

    def add_claim(self, claim: ClaimRecord) -> None:
        """Insert a claim."""

    def spend_claim(self, secret_sha256: str, *, at: Instant) -> bool:
        """Take one use of an unexpired claim; say whether there was one left. Rolled back with the transaction."""
