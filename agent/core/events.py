"""What can happen to an agent. Every event carries `at`: the device's CLOCK_BOOTTIME in milliseconds."""

from enum import StrEnum

import msgspec

from agent.core.model import NOTHING_TOLD, Fault, Phase, Told
from protocol.health import Mark
from protocol.ids import AppName, RunId


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened at `at`."""

    at: int


class Started(Event, frozen=True, kw_only=True):
    """The program started in the boot with this id; work in hand resumes."""

    boot: str


class Connected(Event, frozen=True, kw_only=True):
    """A connection stands and its subscriptions are granted; `nonce` is 16 random bytes in hexadecimal."""

    nonce: str


class Disconnected(Event, frozen=True, kw_only=True):
    """The connection is gone."""


class CommandReceived(Event, frozen=True, kw_only=True):
    """Bytes arrived on the command topic."""

    raw: bytes


class AnswerReceived(Event, frozen=True, kw_only=True):
    """Bytes arrived on the acknowledgement topic: a hello reply or an acknowledgement of reports."""

    raw: bytes


class ReleasesRefreshed(Event, frozen=True, kw_only=True):
    """The refresh of the release file has ended, well or not; `step` is given whatever trust came of it."""


class Progressed(Event, frozen=True, kw_only=True):
    """The current step of the work is this far; `total` 0 means not known."""

    run: RunId
    attempt: int
    done: int
    total: int = 0


class Finished(Event, frozen=True, kw_only=True):
    """A step of the work ended, well where `fault` is None; `told` is what a verification heard, whatever its end."""

    run: RunId
    attempt: int
    phase: Phase
    fault: Fault | None = None
    told: Told = NOTHING_TOLD


class Found(StrEnum):
    """What the installer says is active after a crash."""

    NEW = "new"
    OLD = "old"
    BROKEN = "broken"


class Inspected(Event, frozen=True, kw_only=True):
    """The installer was asked what is active."""

    run: RunId
    attempt: int
    found: Found


class Ailed(Event, frozen=True, kw_only=True):
    """An app that is active is not well, `mark` says how; `count` is how often that was seen."""

    app: AppName
    mark: Mark
    count: int = 1
    detail: str = ""


class Measured(Event, frozen=True, kw_only=True):
    """The apps that are watched for an attempt were asked what they tell of themselves."""

    run: RunId
    attempt: int
    told: Told = NOTHING_TOLD


class Woke(Event, frozen=True, kw_only=True):
    """A deadline may have passed; `nonce` is a fresh one, for the hello that may be due."""

    nonce: str


AnyEvent = (
    Started
    | Connected
    | Disconnected
    | CommandReceived
    | AnswerReceived
    | ReleasesRefreshed
    | Progressed
    | Finished
    | Inspected
    | Ailed
    | Measured
    | Woke
)
