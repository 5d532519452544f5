"""Errors of the agent, by whose fault.

```
AgentError
├── ConfigError        the caller's: a setting or an argument is wrong
├── StepFailed         a step of the work failed; carries the reason that is reported
├── Aborted            a step of the work was called off
├── PeerError          the other side's
│   ├── EnrolRefused       the controller does not take this device
│   │   ├── ClaimRefused       it does not accept the claim token
│   │   └── AlreadyEnrolled    the device is enrolled, or other hardware is by its name
│   └── ReleasesRefused    the release file is not to be trusted
└── EnvironmentFault   the device's or the network's
    ├── StorageError       the journal cannot be written just now: try again later
    │   └── StorageFull    no space is left; it recovers by itself when there is some
    ├── JournalCorrupt     the journal cannot be read: it needs a person
    └── Unreachable        the controller cannot be reached just now
        └── Misdirected    what is there is not our controller, or cannot show that it is
```
"""

from protocol.reasons import Reason

__all__ = [
    "Aborted",
    "AgentError",
    "AlreadyEnrolled",
    "ClaimRefused",
    "ConfigError",
    "EnrolRefused",
    "EnvironmentFault",
    "JournalCorrupt",
    "Misdirected",
    "PeerError",
    "ReleasesRefused",
    "StepFailed",
    "StorageError",
    "StorageFull",
    "Unreachable",
]


class AgentError(Exception):
    """Root of all errors of this package."""


class ConfigError(AgentError):
    """A setting or an argument is missing or wrong; the text names it."""


class StepFailed(AgentError):
    """A step of the work failed."""

    def __init__(self, reason: Reason, detail: str) -> None:
        """Take the reason that the controller judges by, and what a person should know."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class OutputsRefused(AgentError):
    """What a release wrote as its outputs breaks a limit or is no file of ours to read; none of it is reported."""


class Aborted(AgentError):
    """The step was called off; nothing is reported about it."""


class PeerError(AgentError):
    """The other side did or said something that is not to be accepted."""


class EnrolRefused(PeerError):
    """The controller refused the enrolment or renewal; the text gives its reason."""


class ClaimRefused(EnrolRefused):
    """The claim token or the device's signature is not accepted, or the device is blocked."""


class AlreadyEnrolled(EnrolRefused):
    """This device is enrolled, or its name belongs to other hardware; the text says what to do."""


class ReleasesRefused(PeerError):
    """The release file is unsigned, expired, malformed, or older than one seen before."""


class EnvironmentFault(AgentError):
    """Something around the agent failed."""


class StorageError(EnvironmentFault):
    """The journal could not be written; nothing was changed, and the same write may be tried again."""


class StorageFull(StorageError):
    """The journal could not be written because no space is left."""


class JournalCorrupt(EnvironmentFault):
    """The journal cannot be read; the text says what to do."""


class Unreachable(EnvironmentFault):
    """The controller cannot be reached, or answers that it cannot serve just now."""


class Misdirected(Unreachable):
    """What answers there is not our controller, or cannot show that it is; a wrong address or CA file, mostly."""
