"""What a seed draws: the fleet, the pipelines, and which faults happen how often (swarm testing).

Every seed draws a subset of the faults, each with a rate of its own: a world in which everything fails at once hides
what only shows when some things work (Groce et al., "Swarm Testing", ISSTA 2012).

>>> draw(7) == draw(7)
True
"""

import random
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import Final

import msgspec

from controller.domain.pipeline import (
    Pipeline,
    Stage,
    Targets,
    Trigger,
)
from protocol.ids import DeviceId, device_id
from protocol.units import MINUTE, SECOND
from simulator.virtual import pipelines
from simulator.virtual.gates import AdmissionDraw, asking, draw_admission
from simulator.virtual.pipelines import DEVICES_MAX, GROUPS, QUERIES
from simulator.virtual.shapes import ShapeDraw, draw_shape

REAL_KEYS_EVERY: Final = 50
RINGS: Final = ("canary", "main")
VERSIONS: Final = ("1.0.0", "2.0.0", "10.0.0")
"""In an order that is not that of text."""
SHAPED_EVERY: Final = 4
RERUNS_EVERY: Final = 4
RERUN_GAP_MS: Final = 15 * SECOND
RERUN_CHAOS_MS: Final = 6 * MINUTE


class NetworkDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of messages, spans in milliseconds; a gap is the mean time between two such faults, 0 for never."""

    loss: float
    doubling: float
    delay_ms: int
    late_share: float
    late_ms: int
    hostility: float
    cut_gap_ms: int
    cut_ms: int
    window: int


class Keeps(StrEnum):
    """What a broker still has of the lanes' sessions after a restart."""

    ALL = "all"
    SESSIONS = "sessions"
    NOTHING = "nothing"


class BrokerDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of downlink messages, lane breaks and wills; spans in milliseconds; a gap is a mean time, 0 for never.

    `redelivery_late_ms` is how long new messages may overtake those that are offered again; `will_late_ms` how late
    the will of a connection that was taken over may come.
    """

    keeps: Keeps
    window: int
    downlink_loss: float
    restart_gap_ms: int
    down_ms: int
    lane_gap_ms: int
    forgets: float
    redelivery_late_ms: int
    wills_at_takeover: float
    wills_at_restart: float
    will_late_ms: int


class ControllerDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of commits and publishes, spans in milliseconds; a gap is the mean time between two such faults."""

    kill_at_commit: float
    kill_at_publish: float
    disk_full: float
    down_ms: int
    step_ms: int
    compute_ms: int
    jump_gap_ms: int
    jump_ms: int
    endpoint_gap_ms: int


class DeviceDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of journal commits, installations and crashes; spans in milliseconds; drift in parts per million."""

    kill_at_commit: float
    disk_full: float
    power_gap_ms: int
    off_ms: int
    step_ms: int
    download_fails: float
    verify_fails: float
    breaks: float
    drift_ppm: int
    clones: int
    releases_known: float


class OperatorDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Mean time between two acts in milliseconds, and how likely each act is beside the others.

    `stop_gap_ms` is the mean time until everything is stopped, and until that is lifted again; `decide_gap_ms` that
    between two decisions about a stage or a device that a run would wait for; `freeze_gap_ms` that between two freezes;
    `rerun_gap_ms` that between two runs over an earlier one. 0 is never.
    """

    gap_ms: int
    weights: dict[str, int]
    stop_gap_ms: int
    decide_gap_ms: int
    freeze_gap_ms: int
    rerun_gap_ms: int


class ClocksDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Spans in milliseconds: how long an attempt may take, and a device may wait; how long a download takes on average.

    None of it is drawn in most worlds, which is 0: an attempt may then take a day.
    """

    attempt_ms: int = 0
    queued_ms: int = 0
    download_ms: int = 0


class ConsentDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Mean times between withdrawals (0: never), approvals, and changes that let devices join, in milliseconds."""

    withdraw_gap_ms: int
    approve_gap_ms: int
    relabel_gap_ms: int


class Draws(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a seed decides before the first event."""

    seed: int
    has_real_keys: bool
    devices: tuple[DeviceId, ...]
    rings: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    pipelines: tuple[Pipeline, ...]
    priorities: tuple[int, ...]
    network: NetworkDraw
    controller: ControllerDraw
    device: DeviceDraw
    operator: OperatorDraw
    consent: ConsentDraw
    broker: BrokerDraw | None
    clocks: ClocksDraw
    shape: ShapeDraw | None
    admission: AdmissionDraw | None
    chaos_ms: int
    floors: tuple[int, ...]


ACTS: Final = ("start", "pause", "resume", "terminate", "promote", "edit", "label", "group", "block", "look")


def draw(seed: int) -> Draws:
    """Return the world of *seed*."""
    chance = random.Random(f"{seed}/draws")
    shapes = random.Random(f"{seed}/draws/shape")
    count = chance.choice((1, 2, 3, 3, 4, 4, 5, 6, DEVICES_MAX))
    jobs = chance.choice((1, 1, 2))
    clocks = _clocks(random.Random(f"{seed}/draws/clocks"))
    devices = tuple(device_id(f"d{number}") for number in range(1, count + 1))
    consent = random.Random(f"{seed}/consent")
    asks = random.Random(f"{seed}/admission")
    admission = draw_admission(asks)
    plain = Draws(
        seed=seed,
        has_real_keys=seed % REAL_KEYS_EVERY == 0,
        devices=devices,
        rings=tuple(chance.choice(RINGS) for _ in devices),
        groups=tuple(tuple(sorted(chance.sample(GROUPS, chance.choice((0, 1, 2))))) for _ in devices),
        pipelines=_with_consent(
            consent,
            pipelines.paced(
                random.Random(f"{seed}/draws/rates"),
                [
                    _timed(pipelines.draw_pipeline(chance, f"p{number}", devices), clocks)
                    for number in range(1, jobs + 1)
                ],
            ),
        ),
        priorities=tuple(chance.choice((0, 0, 5)) for _ in range(jobs)),
        network=_network(chance),
        controller=_controller(chance),
        device=_device(chance),
        operator=_operator(chance, random.Random(f"{seed}/rare"), random.Random(f"{seed}/draws/calendar")),
        consent=_consent(consent),
        broker=_broker(random.Random(f"{seed}/draws/broker")),
        clocks=clocks,
        admission=admission,
        shape=None,
        chaos_ms=int(chance.uniform(1, 8) * MINUTE),
        floors=chance.choice(((0, 0, 0), (0, 0, 0), (1, 1, 2), (0, 2, 3))),
    )
    return _with_reruns(random.Random(f"{seed}/reruns"), _shaped(shapes, _asking(asks, plain)))


def _asking(chance: random.Random, plain: Draws) -> Draws:
    """Return a world in which stages ask something of devices, where that is drawn."""
    if plain.admission is None:
        return plain
    return msgspec.structs.replace(plain, pipelines=tuple(asking(chance, pipeline) for pipeline in plain.pipelines))


def _shaped(chance: random.Random, plain: Draws) -> Draws:
    """Return a world with other pipelines than the plain ones, and more that starts them."""
    if chance.randrange(SHAPED_EVERY):
        return plain
    draw_stage = partial(pipelines.draw_stage, devices=plain.devices, is_last=False)
    shape = draw_shape(chance, plain.pipelines, draw_stage, plain.devices)
    return msgspec.structs.replace(plain, shape=shape, pipelines=tuple(edits[-1] for edits in shape.edits))


def _with_reruns(chance: random.Random, drawn: Draws) -> Draws:
    """Let runs be tried again and rolled back in some worlds, which last long enough for devices to have had something.

    The chance is one of its own, so that all other worlds are as they were.
    """
    if chance.randrange(RERUNS_EVERY):
        return drawn
    edits = [(pipeline,) for pipeline in drawn.pipelines] if drawn.shape is None else drawn.shape.edits
    changed = tuple(tuple(pipelines.with_rollback(chance, pipeline) for pipeline in each) for each in edits)
    return msgspec.structs.replace(
        drawn,
        shape=None if drawn.shape is None else msgspec.structs.replace(drawn.shape, edits=changed),
        pipelines=tuple(each[-1] for each in changed),
        operator=msgspec.structs.replace(drawn.operator, rerun_gap_ms=RERUN_GAP_MS),
        chaos_ms=max(drawn.chaos_ms, RERUN_CHAOS_MS),
        floors=chance.choice((drawn.floors, (0, 2, 2), (0, 0, 3))),
    )


def _maybe(chance: random.Random, low: float, high: float) -> float:
    """Return a rate, or 0 in half of all worlds."""
    return chance.uniform(low, high) if chance.randrange(2) else 0.0


def _gap(chance: random.Random, low_ms: int, high_ms: int) -> int:
    return int(_maybe(chance, low_ms, high_ms))


def _network(chance: random.Random) -> NetworkDraw:
    return NetworkDraw(
        loss=_maybe(chance, 0.01, 0.3),
        doubling=_maybe(chance, 0.01, 0.5),
        delay_ms=chance.choice((1, 20, 300, 3_000)),
        late_share=_maybe(chance, 0.01, 0.2),
        late_ms=int(chance.uniform(1, 180) * SECOND),
        hostility=_maybe(chance, 0.01, 0.5),
        cut_gap_ms=_gap(chance, 20 * SECOND, 3 * MINUTE),
        cut_ms=int(chance.uniform(1, 120) * SECOND),
        window=chance.choice((1, 2, 16)),
    )


def _broker(chance: random.Random) -> BrokerDraw | None:
    """Draw from a chance of its own, so that all else in a world is the same with a broker and without."""
    if chance.randrange(3):
        return None
    return BrokerDraw(
        keeps=chance.choice(tuple(Keeps)),
        window=chance.choice((3, 16, 64)),
        downlink_loss=_maybe(chance, 0.01, 0.3),
        restart_gap_ms=_gap(chance, MINUTE, 4 * MINUTE),
        down_ms=chance.choice((100, 5_000, 60_000)),
        lane_gap_ms=_gap(chance, 20 * SECOND, 3 * MINUTE),
        forgets=_maybe(chance, 0.1, 0.8),
        redelivery_late_ms=_gap(chance, SECOND, 30 * SECOND),
        wills_at_takeover=_maybe(chance, 0.2, 1.0),
        wills_at_restart=_maybe(chance, 0.2, 1.0),
        will_late_ms=chance.choice((10, 1_000, 30_000)),
    )


def _clocks(chance: random.Random) -> ClocksDraw:
    if chance.randrange(4):
        return ClocksDraw()
    return ClocksDraw(
        attempt_ms=_gap(chance, 30 * SECOND, 4 * MINUTE),
        queued_ms=_gap(chance, 20 * SECOND, 4 * MINUTE),
        download_ms=_gap(chance, 20 * SECOND, 2 * MINUTE),
    )


def _timed(pipeline: Pipeline, clocks: ClocksDraw) -> Pipeline:
    """Return a pipeline whose stages have the limits that are drawn."""
    limits = {"attempt_ms": clocks.attempt_ms, "queued_ms": clocks.queued_ms}
    drawn = {name: span_ms for name, span_ms in limits.items() if span_ms}
    replace = msgspec.structs.replace
    stages = tuple(replace(stage, timeouts=replace(stage.timeouts, **drawn)) for stage in pipeline.stages)
    return replace(pipeline, stages=stages)


def _controller(chance: random.Random) -> ControllerDraw:
    return ControllerDraw(
        kill_at_commit=_maybe(chance, 0.002, 0.1),
        kill_at_publish=_maybe(chance, 0.005, 0.1),
        disk_full=_maybe(chance, 0.005, 0.2),
        down_ms=chance.choice((1_000, 10_000, 60_000)),
        step_ms=chance.choice((0, 3, 20, 400)),
        compute_ms=chance.choice((0, 20, 400, 5_000)),
        jump_gap_ms=_gap(chance, MINUTE, 4 * MINUTE),
        jump_ms=int(chance.choice((1, -1)) * chance.uniform(1, 3_600) * SECOND),
        endpoint_gap_ms=_gap(chance, MINUTE, 4 * MINUTE),
    )


def _device(chance: random.Random) -> DeviceDraw:
    return DeviceDraw(
        kill_at_commit=_maybe(chance, 0.002, 0.15),
        disk_full=_maybe(chance, 0.005, 0.2),
        power_gap_ms=_gap(chance, 20 * SECOND, 3 * MINUTE),
        off_ms=int(chance.uniform(1, 90) * SECOND),
        step_ms=chance.choice((10, 500, 5_000, 20_000)),
        download_fails=_maybe(chance, 0.05, 0.4),
        verify_fails=_maybe(chance, 0.05, 0.6),
        breaks=_maybe(chance, 0.05, 0.5),
        drift_ppm=chance.choice((0, 0, 500, -500)),
        clones=int(not chance.randrange(10)),
        releases_known=chance.choice((1.0, 0.5)),
    )


def _operator(chance: random.Random, rare: random.Random, calendar: random.Random) -> OperatorDraw:
    weights = {act: chance.choice((0, 1, 1, 3)) for act in ACTS}
    return OperatorDraw(
        gap_ms=int(chance.choice((5, 20, 60)) * SECOND),
        weights={**weights, "start": 3, "promote": 3, "resume": max(1, weights["pause"])},
        stop_gap_ms=rare.choice((0, 0, 0, 30 * SECOND)),
        decide_gap_ms=rare.choice((0, 0, 0, 30 * SECOND)),
        freeze_gap_ms=calendar.choice((0, 0, 0, 40 * SECOND)),
        rerun_gap_ms=0,
    )


def _consent(chance: random.Random) -> ConsentDraw:
    return ConsentDraw(
        withdraw_gap_ms=chance.choice((0, 0, 0, 2 * MINUTE)),
        approve_gap_ms=chance.choice((5 * SECOND, 20 * SECOND)),
        relabel_gap_ms=chance.choice((5 * SECOND, 20 * SECOND)),
    )


def _with_consent(chance: random.Random, pipelines: Sequence[Pipeline]) -> tuple[Pipeline, ...]:
    """Have stages ask for approvals in a quarter of all worlds, and include new devices in another quarter or so."""
    asks, includes = not chance.randrange(4), not chance.randrange(4)
    return tuple(
        msgspec.structs.replace(
            pipeline, stages=tuple(_consented(chance, stage, asks=asks, includes=includes) for stage in pipeline.stages)
        )
        for pipeline in pipelines
    )


def _consented(chance: random.Random, stage: Stage, *, asks: bool, includes: bool) -> Stage:
    if includes and chance.randrange(3):
        is_all = stage.targets == Targets()
        wanted = stage.targets if is_all or chance.randrange(2) else Targets(query=chance.choice(QUERIES))
        stage = msgspec.structs.replace(stage, targets=msgspec.structs.replace(wanted, include_new=True))
    if asks and chance.randrange(2):
        stage = msgspec.structs.replace(stage, trigger=Trigger.MANUAL, approvals=chance.choice((1, 2)))
    return stage
