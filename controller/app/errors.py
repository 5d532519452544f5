"""Errors of the controller, by whose fault, each with the HTTP status that tells the caller so.

```
ControllerError
├── CallerError         the caller can mend it
│   ├── InvalidRequest 422 · InvalidDefinition 422 · KeyReused 422 · SecretsNotSealed 422
│   ├── NotFound 404 · Conflict 409 (ReleaseWithdrawn · ReleaseDeprecated · ApprovalsMissing)
│   ├── PreconditionRequired 428 · PreconditionFailed 412
│   └── NotAuthenticated 401 · NotAllowed 403 (OwnWork)
└── EnvironmentFault    time or an administrator mends it
    └── StorageUnavailable 503 · Overloaded 503
```
"""

from collections.abc import Sequence
from typing import ClassVar

from controller.domain.validation import Fault


class ControllerError(Exception):
    """Root of all errors of this package. `slug` names the kind in problem documents (RFC 9457, section 3.1.1)."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"


class CallerError(ControllerError):
    """The request cannot be carried out as it is; the text says what was expected."""

    status = 400
    slug = "bad-request"


class InvalidRequest(CallerError):
    """The request's content breaks a rule."""

    status = 422
    slug = "invalid-request"


class InvalidDefinition(InvalidRequest):
    """A pipeline or job is not valid; `faults` lists everything wrong with it."""

    slug = "invalid-definition"

    def __init__(self, message: str, faults: Sequence[Fault]) -> None:
        """Take the summary and every fault."""
        super().__init__(message)
        self.faults = tuple(faults)


class KeyReused(InvalidRequest):
    """One Idempotency-Key came with two different requests."""

    slug = "idempotency-key-reused"


class SecretsNotSealed(InvalidRequest):
    """A run needs secrets, which this version cannot seal to devices."""

    slug = "secrets-not-sealed"


class NotFound(CallerError):
    """There is no such thing."""

    status = 404
    slug = "not-found"


class Conflict(CallerError):
    """The thing is not in a state that allows this."""

    status = 409
    slug = "conflict"


class ReleaseWithdrawn(Conflict):
    """The release was withdrawn: nothing installs it any more, and that is not taken back."""

    slug = "release-withdrawn"


class ReleaseDeprecated(Conflict):
    """The release is deprecated: only somebody who says so starts a run of it."""

    slug = "release-deprecated"


class ApprovalsMissing(Conflict):
    """Fewer people have approved a stage than its promotion takes; `count` are missing."""

    slug = "approvals-missing"

    def __init__(self, message: str, count: int) -> None:
        """Take the message and how many are missing."""
        super().__init__(message)
        self.count = count


class PreconditionRequired(CallerError):
    """An edit does not say which version it was made from (RFC 6585, section 3)."""

    status = 428
    slug = "precondition-required"


class PreconditionFailed(CallerError):
    """The thing is another one by now than the edit was made from (RFC 9110, section 15.5.13)."""

    status = 412
    slug = "precondition-failed"


class NotAuthenticated(CallerError):
    """Nobody we know signed or sent this."""

    status = 401
    slug = "not-authenticated"


class NotAllowed(CallerError):
    """The caller is known but lacks the permission."""

    status = 403
    slug = "not-allowed"


class OwnWork(NotAllowed):
    """Somebody would approve what they have written or started themselves."""

    slug = "own-work"


class EnvironmentFault(ControllerError):
    """Something outside failed; the same request may succeed later."""

    status = 503
    slug = "unavailable"


class StorageUnavailable(EnvironmentFault):
    """The database or the disk cannot take writes now."""

    slug = "storage-unavailable"


class Overloaded(EnvironmentFault):
    """More work is waiting than the controller takes on."""

    slug = "overloaded"
