"""What happened in the demo, as data. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from controller.app.views import FactView, GateView, RunView, StageView, TargetView
from controller.domain.states import StageState
from controller.domain.target import TargetState
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import BLAME, Blame, reason_from
from simulator.demo.scenes import Scene

HEALTHY: Final = 200
BUILT_IN: Final = "the built-in endpoint"
NOTHING: Final = "nothing"
"""The version of a device that has none."""

_INSTALLING: Final = frozenset({AttemptState.INSTALLING, AttemptState.VERIFYING, AttemptState.SUCCEEDED})
_TOUCHED: Final = frozenset({Left.NEW, Left.BROKEN})


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How the service of a real agent answered in the end."""

    status: int
    version: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered when somebody asked why a device was not updated: the first, most decisive fact."""

    device: str
    fact: FactView


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """One scene as it ended.

    `meant` are the devices that the scene is to bring to its version; `asked` is about the one that was held.
    """

    scene: Scene
    view: RunView
    targets: tuple[TargetView, ...]
    seconds: float
    meant: frozenset[str]
    asked: Asked | None = None

    @property
    def failed(self) -> StageView | None:
        """The stage that the release did not get out of."""
        return next((stage for stage in self.view.stages if stage.state == StageState.FAILED), None)

    @property
    def quarantined(self) -> frozenset[str]:
        """The hardware models that the run kept out."""
        return frozenset(one.model for stage in self.view.stages for one in stage.gate.models if one.is_quarantined)

    @property
    def speaking(self) -> tuple[StageView, ...]:
        """The stages whose gates had something to say: of failures, a breach or a model that was kept out."""
        return tuple(stage for stage in self.view.stages if _speaks(stage.gate))

    @property
    def reached(self) -> tuple[TargetView, ...]:
        """The devices that had the release, however briefly."""
        return tuple(target for target in self.targets if is_exposed(target))

    @property
    def exposed(self) -> tuple[TargetView, ...]:
        """The devices that had a release that is bad for them: in a stage that it did not get out of, or by model."""
        stage = self.failed.name if self.failed else None
        return tuple(one for one in self.reached if one.stage == stage or one.model in self.quarantined)

    @property
    def left_out(self) -> tuple[TargetView, ...]:
        """The devices of the models that were kept out, whether they had begun by then or not."""
        return tuple(target for target in self.targets if target.model in self.quarantined)

    @property
    def called_back(self) -> tuple[TargetView, ...]:
        """The devices that were told to install the release, and told not to before they did."""
        return tuple(target for target in self._spared if target.state == TargetState.CANCELLED)

    @property
    def stranded(self) -> tuple[TargetView, ...]:
        """The devices that were told to install the release, and did not come to it for another reason."""
        return tuple(target for target in self._spared if target.state != TargetState.CANCELLED)

    @property
    def _spared(self) -> tuple[TargetView, ...]:
        return tuple(target for target in self.targets if target.attempt > 0 and not is_exposed(target))

    @property
    def succeeded(self) -> int:
        """How many devices took it."""
        return sum(stage.counters.succeeded for stage in self.view.stages)


def _speaks(gate: GateView) -> bool:
    return gate.failed > 0 or gate.breach is not None or any(one.is_quarantined for one in gate.models)


def is_exposed(target: TargetView) -> bool:
    """Say whether a device came to install the release: by where it stands, what it has, or what it blames."""
    blames_build = bool(target.reason) and BLAME[reason_from(target.reason)] is Blame.BUILD
    has_come_so_far = target.attempt_state in _INSTALLING or target.left in _TOUCHED or blames_build
    return target.attempt > 0 and has_come_so_far


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that happened.

    `versions` are those that the devices have in the end, `services` those of the real agents, both by device; `broker`
    is what carried the messages.
    """

    seconds: float
    expected_devices: int
    runs: tuple[Played, ...]
    versions: Mapping[str, str]
    services: Mapping[str, Service]
    broker: str = BUILT_IN

    @property
    def devices_on_version(self) -> dict[str, int]:
        """How many devices have each version."""
        return dict(sorted(Counter(self.versions.values()).items()))

    @property
    def versions_meant(self) -> dict[str, str]:
        """Which version each device should have, by the scenes played: the last one that was to reach it."""
        return {device: played.scene.version for played in self.runs for device in played.meant}

    @property
    def installs_per_second(self) -> float:
        """Whole installs per second in the first run, its waits for gates included."""
        first = self.runs[0] if self.runs else None
        return round(first.succeeded / first.seconds, 1) if first and first.seconds else 0.0
