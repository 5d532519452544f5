"""Tokens, claims, audit, the standstill and health."""

from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
)

from controller.app.access import Role
from controller.http.schemas.parts import Answer, Body, Moment, Time, Word


class Token(Answer):
    """An API token, without its secret."""

    id: str
    name: str
    role: str
    created_at: Time
    expires_at: Time | None
    revoked: bool


class NewSecret(Answer):
    """A token that was just made; its secret is shown this once."""

    id: str
    secret: str


class NewToken(Body):
    """A token for a person or program."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "role": "releaser", "expires_at": "2027-01-01T00:00:00Z"}]}
    )

    name: Word
    role: Role
    expires_at: Moment | None = None


class NewClaim(Body):
    """A token that devices enrol with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"uses": 100, "expires_at": "2027-01-01T00:00:00Z"}]})

    uses: Annotated[int, Field(ge=1, le=1_000_000)]
    expires_at: Moment


class SecurityEvent(Answer):
    """Something that a device refused, or that was refused of a device."""

    id: int
    at: Time
    device: str
    code: str
    digest: str
    detail: str


class AuditEntry(Answer):
    """One act of an operator, chained by hash to the one before."""

    id: int
    at: Time
    actor: str
    verb: str
    subject: str
    reason: str
    hash: str


class Standstill(Answer):
    """Whether everything is stopped; `since`, `by` and `reason` tell of the one who did."""

    stopped: bool
    since: Time | None
    by: str
    reason: str


class Health(Answer):
    """Whether the controller can do its work; `faults` says in words why not."""

    ready: bool
    faults: list[str]
    online: int
    unsent: int
