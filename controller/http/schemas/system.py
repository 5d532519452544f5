"""Tokens, claims, audit, the standstill and health."""

from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
)

from controller.app.access import Role
from controller.http.schemas.parts import Answer, Body, Moment, Reason, Time, Word

PIPELINES_MAX = 64


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


class Freeze(Answer):
    """One freeze of the calendar, for the runs of some `pipelines`, or of all where none is named."""

    name: str
    starts_at: Time
    ends_at: Time
    reason: str
    pipelines: list[str]
    by: str
    created_at: Time
    is_over: bool


class NewFreeze(Body):
    """A span in which no run in scope begins anything new; it starts now where nothing else is said."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "sale", "ends_at": "2026-12-01T06:00:00Z", "reason": "sale week"}]}
    )

    name: Word
    starts_at: Moment | None = None
    ends_at: Moment
    reason: Reason
    pipelines: Annotated[list[Word], Field(default_factory=list, max_length=PIPELINES_MAX)]


class Health(Answer):
    """Whether the controller can do its work; `faults` says in words why not."""

    ready: bool
    faults: list[str]
    online: int
    unsent: int
