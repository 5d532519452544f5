"""Which devices each stage would get, and why it would not get the others.

A device belongs to the first stage that takes it, in the order of the graph; ties go by the order of the definition. A
run does the same as long as its stages open in that order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum

import msgspec

from controller.domain import graph
from controller.domain.pipeline import Pipeline, Stage, Targets
from controller.domain.selector import Exclusion, is_left_out
from protocol.ids import DeviceId, StageName


class Reason(StrEnum):
    """Why a stage does not get a device: the first that holds, in this order."""

    BLOCKED = "blocked"
    BROKEN = "broken"
    EXCLUDED = Exclusion.EXCLUDED.value
    NOT_LISTED = Exclusion.NOT_LISTED.value
    LABELS = Exclusion.LABELS.value
    GROUPS = Exclusion.GROUPS.value
    QUERY = Exclusion.QUERY.value
    PERCENT = Exclusion.PERCENT.value
    IN_STAGE = "in_stage"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All devices by their ids, and those that no stage gets."""

    names: Mapping[int, DeviceId]
    blocked: AbstractSet[int]
    broken: AbstractSet[int]


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Devices that a stage does not get, for one reason; `stage` is the earlier one that got them, if that is it."""

    reason: Reason
    devices: AbstractSet[int]
    stage: StageName | None = None


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage would get. `left_out` and `members` are all devices, each once."""

    stage: Stage
    members: AbstractSet[int]
    left_out: tuple[LeftOut, ...]


Find = Callable[[Targets], Iterable[int]]
"""Returns the ids of the devices that fulfil what `formula_of` makes of targets."""


def placements(pipeline: Pipeline, fleet: Fleet, *, find: Find, salt: str) -> Iterator[Placement]:
    """Yield what each stage would get, in the order in which stages open.

    Args:
        pipeline: the stages, free of circles.
        fleet: all devices.
        find: looks devices up.
        salt: decides the share.
    """
    stages = {stage.name: stage for stage in pipeline.stages}
    taken: dict[StageName, AbstractSet[int]] = {}
    for name in graph.in_order({stage.name: stage.needs for stage in pipeline.stages}):
        placement = _placement(stages[name], fleet, taken, find=find, salt=salt)
        taken[name] = placement.members
        yield placement


def _placement(
    stage: Stage, fleet: Fleet, taken: Mapping[StageName, AbstractSet[int]], *, find: Find, salt: str
) -> Placement:
    rest = set(fleet.names)
    found: list[LeftOut] = []

    def leave_out(devices: AbstractSet[int], reason: Reason, earlier: StageName | None = None) -> None:
        nonlocal rest
        out = rest & devices
        if out:
            found.append(LeftOut(reason=reason, devices=out, stage=earlier))
            rest -= out

    leave_out(fleet.blocked, Reason.BLOCKED)
    leave_out(fleet.broken, Reason.BROKEN)
    targets, names = stage.targets, fleet.names
    excluded = set(targets.exclude)
    leave_out({id_ for id_ in rest if names[id_] in excluded} if excluded else set(), Reason.EXCLUDED)
    for reason, condition in _conditions(targets):
        leave_out(rest.difference(find(condition)), reason)
    share = Targets(percent=targets.percent)
    leave_out({id_ for id_ in rest if is_left_out(share, names[id_], salt=salt)}, Reason.PERCENT)
    for earlier, devices in taken.items():
        leave_out(devices, Reason.IN_STAGE, earlier)
    return Placement(stage=stage, members=rest, left_out=tuple(found))


def _conditions(targets: Targets) -> Iterator[tuple[Reason, Targets]]:
    """Yield each thing that *targets* ask for, as targets that ask for nothing else."""
    if targets.devices:
        yield Reason.NOT_LISTED, Targets(devices=targets.devices)
    if targets.labels:
        yield Reason.LABELS, Targets(labels=targets.labels)
    if targets.groups:
        yield Reason.GROUPS, Targets(groups=targets.groups)
    if targets.query:
        yield Reason.QUERY, Targets(query=targets.query)
