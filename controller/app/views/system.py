"""Tokens, logs, and what holds for everything at once."""

from controller.app.views.parts import View
from protocol.units import Instant


class TokenView(View, frozen=True, kw_only=True):
    """An API token, without its secret."""

    id: str
    name: str
    role: str
    created_at: Instant
    expires_at: Instant | None
    revoked: bool


class NewSecret(View, frozen=True, kw_only=True):
    """A token that was just made: the only time its secret is shown."""

    id: str
    secret: str


class SecurityEventView(View, frozen=True, kw_only=True):
    """Something that a device refused, or that was refused of a device."""

    id: int
    at: Instant
    device: str
    code: str
    digest: str
    detail: str


class AuditView(View, frozen=True, kw_only=True):
    """One act of an operator, chained by hash to the one before."""

    id: int
    at: Instant
    actor: str
    verb: str
    subject: str
    reason: str
    hash: str


class FreezeView(View, frozen=True, kw_only=True):
    """One freeze of the calendar, for the runs of some `pipelines`, or of all; `is_over` once its end has passed."""

    name: str
    starts_at: Instant
    ends_at: Instant
    reason: str
    pipelines: tuple[str, ...]
    by: str
    created_at: Instant
    is_over: bool = False


class StandstillView(View, frozen=True, kw_only=True):
    """Whether everything is stopped; `since`, `by` and `reason` tell of the one who did."""

    stopped: bool
    since: Instant | None
    by: str
    reason: str


class Health(View, frozen=True, kw_only=True):
    """Whether the controller can do its work; `faults` says in words why not."""

    ready: bool
    faults: tuple[str, ...]
    online: int
    unsent: int
