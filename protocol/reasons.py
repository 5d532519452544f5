"""Why an attempt ended, whom that blames, and why a device refused a command.

Gates count only what the build is to blame for; whether a failure is tried again depends on the reason,
never on its wording. An unknown reason from a newer agent is read as `Reason.OTHER`.

>>> BLAME[Reason.VERIFY_FAILED]
<Blame.BUILD: 'build'>
>>> is_retried(Reason.INTERRUPTED), is_retried(Reason.INSTALL_FAILED)
(True, False)
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Blame(StrEnum):
    """Whose fault an end was."""

    BUILD = "build"
    DEVICE = "device"
    NETWORK = "network"
    POWER = "power"
    CONTROL = "control"


class Reason(StrEnum):
    """Why an attempt, or a device's part in a run, ended as it did."""

    INSTALL_FAILED = "install_failed"
    VERIFY_FAILED = "verify_failed"
    VERSION_MISMATCH = "version_mismatch"
    SILENT_IN_INSTALL = "silent_in_install"
    TRANSITIONS_EXHAUSTED = "transitions_exhausted"
    DISK_FULL = "disk_full"
    STORAGE_ERROR = "storage_error"
    LOCKED = "locked"
    WRONG_HARDWARE = "wrong_hardware"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    OTHER = "other"
    DOWNLOAD_FAILED = "download_failed"
    HASH_MISMATCH = "hash_mismatch"
    NO_CONTACT = "no_contact"
    LEASE_ENDED = "lease_ended"
    INTERRUPTED = "interrupted"
    PERMISSION_ENDED = "permission_ended"
    NOT_ACCEPTED = "not_accepted"
    NEVER_STARTED = "never_started"
    CANCELLED = "cancelled"
    GIVEN_UP = "given_up"
    MODEL_QUARANTINED = "model_quarantined"
    SUPERSEDED = "superseded"
    DEVICE_BLOCKED = "device_blocked"


_R = Reason

BLAME: Final[Mapping[Reason, Blame]] = {
    _R.INSTALL_FAILED: Blame.BUILD,
    _R.VERIFY_FAILED: Blame.BUILD,
    _R.VERSION_MISMATCH: Blame.BUILD,
    _R.SILENT_IN_INSTALL: Blame.BUILD,
    _R.TRANSITIONS_EXHAUSTED: Blame.BUILD,
    _R.DISK_FULL: Blame.DEVICE,
    _R.STORAGE_ERROR: Blame.DEVICE,
    _R.LOCKED: Blame.DEVICE,
    _R.WRONG_HARDWARE: Blame.DEVICE,
    _R.UNSUPPORTED: Blame.DEVICE,
    _R.REFUSED: Blame.DEVICE,
    _R.OTHER: Blame.DEVICE,
    _R.DOWNLOAD_FAILED: Blame.NETWORK,
    _R.HASH_MISMATCH: Blame.NETWORK,
    _R.NO_CONTACT: Blame.NETWORK,
    _R.LEASE_ENDED: Blame.NETWORK,
    _R.INTERRUPTED: Blame.POWER,
    _R.PERMISSION_ENDED: Blame.CONTROL,
    _R.NOT_ACCEPTED: Blame.CONTROL,
    _R.NEVER_STARTED: Blame.CONTROL,
    _R.CANCELLED: Blame.CONTROL,
    _R.GIVEN_UP: Blame.CONTROL,
    _R.MODEL_QUARANTINED: Blame.CONTROL,
    _R.SUPERSEDED: Blame.CONTROL,
    _R.DEVICE_BLOCKED: Blame.CONTROL,
}

_RETRIED: Final = frozenset(
    {
        _R.DOWNLOAD_FAILED,
        _R.HASH_MISMATCH,
        _R.INTERRUPTED,
        _R.LEASE_ENDED,
        _R.LOCKED,
        _R.NO_CONTACT,
        _R.NOT_ACCEPTED,
        _R.PERMISSION_ENDED,
    }
)


def reason_from(text: str) -> Reason:
    """Read a reason, taking one that this version does not know as `Reason.OTHER`."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.OTHER


def is_retried(reason: Reason) -> bool:
    """Say whether an attempt that ended for *reason* is worth another, within the budget."""
    return reason in _RETRIED


class RejectCode(StrEnum):
    """Why a device refused a command; every one is a security event keyed by the command's digest."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    WRONG_TYPE = "wrong-type"
    UNSIGNED = "unsigned"
    WRONG_DEVICE = "wrong-device"
    EQUIVOCATION = "equivocation"
    REPLAY = "replay"
    SEQ_AHEAD = "seq-ahead"
    NO_FRESH_TIME = "no-fresh-time"
    EXPIRED = "expired"
    UNKNOWN_OP = "unknown-op"
    STALE_EPOCH = "stale-epoch"
    BUSY = "busy"
    NOT_RELEASED = "not-released"
    DIRECTOR_RELEASE_MISMATCH = "director-release-mismatch"
    RELEASE_ROLLBACK = "release-rollback"


REISSUED: Final = frozenset(
    {
        RejectCode.EXPIRED,
        RejectCode.NO_FRESH_TIME,
        RejectCode.BUSY,
        RejectCode.STALE_EPOCH,
        RejectCode.REPLAY,
    }
)
"""Refusals of a *current* command that a new command for the same attempt cures. `REPLAY` is among them
because a control command that overtook the install command makes its sequence number an old one."""
