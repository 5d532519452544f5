"""What the demo came to, and whether that is what should have happened. Pure.

>>> faults(Story(seconds=1.0, expected_devices=1, runs=(), devices_on_version={"1.0.0": 1}, services={}))
['expected two runs, one for each release, found 0']
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from controller.app.views import Counters, RunView, StageView, TargetView
from controller.domain.target import TargetState
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import BLAME, Blame, reason_from

GOOD: Final = "1.0.0"
BAD: Final = "1.1.0"
HEALTHY: Final = 200
BUILT_IN: Final = "the built-in endpoint"
_INSTALLING: Final = frozenset({AttemptState.INSTALLING, AttemptState.VERIFYING, AttemptState.SUCCEEDED})
_TOUCHED: Final = frozenset({Left.NEW, Left.BROKEN})


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How the service of a real agent answered in the end."""

    status: int
    version: str


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it ended."""

    view: RunView
    targets: tuple[TargetView, ...]
    seconds: float

    @property
    def first(self) -> StageView:
        """The stage that a bad release does not get out of."""
        return self.view.stages[0]

    @property
    def exposed_max(self) -> int:
        """How many devices a bad release can reach: those that may fail, and those at work when one too many does."""
        return self.first.failures_allowed + self.first.max_in_flight

    @property
    def exposed(self) -> tuple[TargetView, ...]:
        """The devices that had the release, however briefly."""
        return tuple(target for target in self.targets if is_exposed(target))

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
        """How many devices have it now."""
        return sum(stage.counters.succeeded for stage in self.view.stages)


def is_exposed(target: TargetView) -> bool:
    """Say whether a device came to install the release: by where it stands, what it has, or what it blames."""
    blames_build = bool(target.reason) and BLAME[reason_from(target.reason)] is Blame.BUILD
    has_come_so_far = target.attempt_state in _INSTALLING or target.left in _TOUCHED or blames_build
    return target.attempt > 0 and has_come_so_far


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that happened. `services` are those of the real agents, by device; `broker` is what carried the messages."""

    seconds: float
    expected_devices: int
    runs: tuple[Played, ...]
    devices_on_version: Mapping[str, int]
    services: Mapping[str, Service]
    broker: str = BUILT_IN

    @property
    def installs_per_second(self) -> float:
        """Whole installs per second in the good run, its waits for gates included."""
        good = self.runs[0] if self.runs else None
        return round(good.succeeded / good.seconds, 1) if good and good.seconds else 0.0


def faults(story: Story) -> list[str]:
    """Return everything that is not as it should be, in words."""
    return list(_faults(story))


def _faults(story: Story) -> Iterator[str]:
    if len(story.runs) != 2:  # noqa: PLR2004 - one good and one bad release
        yield f"expected two runs, one for each release, found {len(story.runs)}"
        return
    good, bad = story.runs
    if good.view.state != "succeeded":
        yield f"release {GOOD}: expected the run to succeed, it {good.view.state}: {good.view.reason}"
    if bad.view.state != "failed":
        yield f"release {BAD}: expected its gate to fail the run, it {bad.view.state}: {bad.view.reason}"
    if not 1 <= len(bad.exposed) <= bad.exposed_max:
        yield f"release {BAD} reached {len(bad.exposed)} devices: expected 1 to {bad.exposed_max}"
    if dict(story.devices_on_version) != {GOOD: story.expected_devices}:
        yield f"expected all {story.expected_devices} devices on {GOOD}, found {dict(story.devices_on_version)}"
    for device, service in story.services.items():
        if (service.status, service.version) != (HEALTHY, GOOD):
            told = f"{service.status} {service.version}".strip()
            yield f"the service on {device} answers {told}: expected {HEALTHY} {GOOD}"


def report(story: Story, *, seed: int) -> dict[str, object]:
    """Return the story as the demo prints it with ``-o json``."""
    found = faults(story)
    return {
        "ok": not found,
        "faults": found,
        "runs": [_run(played) for played in story.runs],
        "devices_on_version": dict(story.devices_on_version),
        "services": {device: msgspec.to_builtins(service) for device, service in story.services.items()},
        "broker": story.broker,
        "installs_per_second": story.installs_per_second,
        "seconds": round(story.seconds, 1),
        "seed": seed,
    }


def _run(played: Played) -> dict[str, object]:
    return {
        "name": f"{played.view.job}-{played.view.version}",
        "id": played.view.id,
        "version": played.view.version,
        "state": played.view.state,
        "reason": played.view.reason,
        "seconds": round(played.seconds, 1),
        "reached": [target.device for target in played.exposed],
        "called_back": [target.device for target in played.called_back],
        "stages": [
            {"name": stage.name, "state": stage.state, "reason": stage.reason, **counters(stage.counters)}
            for stage in played.view.stages
        ],
    }


def counters(of: Counters) -> dict[str, int]:
    """Return the eight counters by name."""
    return {name: getattr(of, name) for name in of.__struct_fields__}
