"""Whether what the demo came to is what should have happened. Pure.

>>> faults(Story(seconds=1.0, expected_devices=0, runs=(), versions={}, services={}))
['expected 5 scenes to be played, found 0']
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from controller.app.views import Counters, StageView
from controller.domain.states import StageState
from controller.domain.target import TargetState
from controller.domain.why import Code
from simulator.demo.scenes import SCENES
from simulator.demo.story import HEALTHY, NOTHING, Played, Story

NAMES_SHOWN_MAX: Final = 3
_LEFT_OUT: Final = frozenset({TargetState.FAILED, TargetState.CANCELLED})


def faults(story: Story) -> list[str]:
    """Return everything that is not as it should be, in words."""
    return list(_faults(story))


def _faults(story: Story) -> Iterator[str]:
    if tuple(played.scene for played in story.runs) != SCENES:
        yield f"expected {len(SCENES)} scenes to be played, found {len(story.runs)}"
        return
    for played in story.runs:
        yield from (f"{played.scene.job} {played.scene.version}: {fault}" for fault in _of_scene(played))
    yield from _of_devices(story)
    for device, service in story.services.items():
        expected = story.versions_meant.get(device, NOTHING)
        if (service.status, service.version) != (HEALTHY, expected):
            told = f"{service.status} {service.version}".strip()
            yield f"the service on {device} answers {told}: expected {HEALTHY} {expected}"


def _of_scene(played: Played) -> Iterator[str]:
    scene, view = played.scene, played.view
    if view.state != scene.ends:
        yield f"expected the run to have {scene.ends}, it {view.state}: {view.reason}"
    if {stage.name for stage in view.stages} != set(scene.verdicts):
        yield f"expected the stages {', '.join(scene.verdicts)}, found {', '.join(s.name for s in view.stages)}"
        return
    for stage in view.stages:
        if stage.state != scene.verdicts[stage.name]:
            yield f"stage {stage.name} {stage.state}: expected {scene.verdicts[stage.name]}"
        yield from _of_stage(stage, left_out=Counter(one.state for one in played.left_out if one.stage == stage.name))
    yield from _of_reach(played)
    yield from _of_quarantine(played)
    yield from _of_hold(played)


def _of_stage(stage: StageView, *, left_out: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong with a stage's counters: all of a passed one succeed, none of the others does.

    Those of its devices that were *left out*, by how they ended, are judged by their model.
    """
    rest = {name: count - left_out.get(name, 0) for name, count in counters(stage.counters).items()}
    found = {name: count for name, count in rest.items() if count}
    match stage.state:
        case StageState.PASSED if set(found) != {"succeeded"}:
            yield f"stage {stage.name} passed: expected all its devices to have succeeded, found {found}"
        case StageState.FAILED if "succeeded" in found or "failed" not in found:
            yield f"stage {stage.name} failed: expected some of its devices to fail and none to succeed, found {found}"
        case StageState.CANCELLED if found:
            yield f"stage {stage.name} was cancelled: expected it never to have opened, found {found}"


def _of_reach(played: Played) -> Iterator[str]:
    exposed, limit = {target.device for target in played.exposed}, played.scene.exposes_max
    if not min(1, limit) <= len(exposed) <= limit:
        yield f"it reached {len(exposed)} devices that it is bad for: expected {min(1, limit)} to {limit}"
    reached = {target.device for target in played.reached} - exposed
    if reached != played.meant:
        yield f"expected it to reach {len(played.meant)} devices whole; not so: {_some(reached ^ played.meant)}"


def _of_quarantine(played: Played) -> Iterator[str]:
    """Yield what is wrong with the models that were kept out, and with how their devices ended."""
    expected = frozenset(filter(None, (played.scene.quarantines,)))
    if played.quarantined != expected:
        yield f"expected quarantined models: {_some(expected)}; found: {_some(played.quarantined)}"
    strayed = {one.device for one in played.left_out if one.state not in _LEFT_OUT}
    if strayed:
        yield f"expected devices of a quarantined model to fail or be called off; not so: {_some(strayed)}"


def _of_hold(played: Played) -> Iterator[str]:
    """Yield what is wrong with the answer about the held device; whether it gets its version, `_of_reach` sees."""
    asked = played.asked
    if played.scene.holds is None:
        return
    if asked is None:
        yield "expected one held device to be left in the end, and asked about"
    elif asked.fact.code != Code.HELD:
        yield f"why {asked.device} was not updated: expected {Code.HELD}, was told {asked.fact.code}: {asked.fact.text}"


def _of_devices(story: Story) -> Iterator[str]:
    if len(story.versions) != story.expected_devices:
        yield f"expected {story.expected_devices} devices, found {len(story.versions)}"
    meant = story.versions_meant
    wrong = {device for device, version in story.versions.items() if version != meant.get(device, NOTHING)}
    if wrong:
        yield f"expected other versions on {_some(wrong)}; found {story.devices_on_version} in all"


def _some(devices: set[str] | frozenset[str]) -> str:
    shown = sorted(devices)[:NAMES_SHOWN_MAX]
    rest = f" and {len(devices) - len(shown)} more" if len(devices) > len(shown) else ""
    return f"{', '.join(shown)}{rest}" if shown else "none"


def report(story: Story, *, seed: int) -> dict[str, object]:
    """Return the story as the demo prints it with ``-o json``."""
    found = faults(story)
    return {
        "ok": not found,
        "faults": found,
        "runs": [_run(played) for played in story.runs],
        "devices_on_version": story.devices_on_version,
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
        "shows": played.scene.title,
        "version": played.view.version,
        "state": played.view.state,
        "reason": played.view.reason,
        "seconds": round(played.seconds, 1),
        "reached": [target.device for target in played.reached],
        "exposed": [target.device for target in played.exposed],
        "called_back": [target.device for target in played.called_back],
        "quarantined": sorted(played.quarantined),
        "asked": msgspec.to_builtins(played.asked),
        "stages": [
            {
                "name": stage.name,
                "state": stage.state,
                "reason": stage.reason,
                "gate": stage.gate.said,
                **counters(stage.counters),
            }
            for stage in played.view.stages
        ],
    }


def counters(of: Counters) -> dict[str, int]:
    """Return the eight counters by name."""
    return {name: getattr(of, name) for name in of.__struct_fields__}
