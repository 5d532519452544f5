"""The port of the installers: what one that makes releases active must be able to do."""

from pathlib import Path
from threading import Event
from typing import Protocol

import msgspec

from agent.core.events import Found
from agent.core.model import Work
from protocol.ids import AppName
from protocol.outputs import Outputs
from protocol.trust import ReleaseInfo


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One release of the work in hand, its file, and whether the step was called off."""

    work: Work
    release: ReleaseInfo
    artifact: Path
    called_off: Event


class Installer(Protocol):
    """Makes releases active. After a crash any call may come again, but for `install`."""

    def prepare(self, job: Job) -> None:
        """Do all that changes nothing yet, and wait until the app may be changed. May come again.

        Permission is looked at only after this, so that a hold or a recall reaches a device that waits here.

        Raises:
            StepFailed: when the release cannot be made active; nothing was touched.
            Aborted: when the step is called off.
        """

    def install(self, job: Job) -> None:
        """Make a prepared release active, without waiting for anything.

        Raises:
            StepFailed: when it cannot; `roll_back` follows.
            Aborted: when the step is called off.
        """

    def inspect(self, job: Job) -> Found:
        """Say what is active after a crash in `install`."""

    def verify(self, job: Job) -> None:
        """Probe what is active until it is healthy.

        Raises:
            StepFailed: when it does not become so; `roll_back` follows.
            Aborted: when the step is called off.
        """

    def outputs(self, job: Job) -> Outputs:
        """Return what the release told since it was installed; nothing where it told nothing.

        Raises:
            OutputsRefused: when that breaks a limit.
        """

    def tell(self, app: AppName) -> Outputs:
        """Return what the active release of an app tells of itself now; nothing where it tells nothing, or is not here.

        Raises:
            OutputsRefused: when that breaks a limit.
        """

    def commit(self, job: Job) -> None:
        """Make the release final.

        Raises:
            StepFailed: when it cannot; `roll_back` follows.
        """

    def roll_back(self, job: Job) -> None:
        """Make active again what was so before; right also where nothing was changed.

        Raises:
            StepFailed: when it cannot: the device is left broken.
        """

    def clean(self) -> None:
        """Remove what no work needs."""

    def attend(self, apps: frozenset[AppName]) -> None:
        """Probe these apps now and then from now on, and no others; tell of those that are not well."""

    def start(self) -> None:
        """Begin to watch over what is installed, at the agent's start."""

    def stop(self) -> None:
        """End in good order."""
