"""What a seed draws: a plain world, and then subject by subject what else there is in it (swarm testing).

Every seed draws a subset of the faults, each with a rate of its own: a world in which everything fails at once hides
what only shows when some things work (Groce et al., "Swarm Testing", ISSTA 2012). A subject draws from a chance of its
own, so that one more draw in it, or one more subject, leaves all other worlds as they were.

>>> draw(7) == draw(7)
True
"""

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from controller.domain.pipeline import Pipeline, Stage, Targets, Trigger
from protocol.ids import DeviceId, device_id
from protocol.units import MINUTE, SECOND
from simulator.virtual import (
    builds,
    checks,
    control,
    faults,
    health,
    metrics,
    models,
    people,
    pipelines,
    proofs,
    silence,
)
from simulator.virtual.builds import BuildsDraw
from simulator.virtual.checks import ChecksDraw
from simulator.virtual.control import ControlDraw
from simulator.virtual.faults import BrokerDraw, ClocksDraw, ControllerDraw, DeviceDraw, NetworkDraw
from simulator.virtual.gates import AdmissionDraw, asking, crowded, draw_admission
from simulator.virtual.health import HealthDraw
from simulator.virtual.metrics import MetricsDraw
from simulator.virtual.models import ModelsDraw
from simulator.virtual.people import ConsentDraw, KeysDraw, OperatorDraw, PathsDraw, RemovalsDraw
from simulator.virtual.pipelines import DEVICES_MAX, GROUPS, QUERIES
from simulator.virtual.places import PlacesDraw, draw_places, placed
from simulator.virtual.shapes import ShapeDraw, draw_shape
from simulator.virtual.silence import SilenceDraw

REAL_KEYS_EVERY: Final = 50
RINGS: Final = ("canary", "main")
VERSIONS: Final = ("1.0.0", "2.0.0", "10.0.0")
"""In an order that is not that of text."""
SHAPED_EVERY: Final = 4
RERUNS_EVERY: Final = 4
RERUN_GAP_MS: Final = 15 * SECOND
RERUN_CHAOS_MS: Final = 6 * MINUTE
AGED_EVERY: Final = 8
CROSSING_EVERY: Final = 8
LONG_CHAOS_MS: Final = 20 * MINUTE
GROWING_EVERY: Final = 4


class Draws(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a seed decides before the first event; what has a value here is drawn by some subject."""

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
    consent: ConsentDraw = ConsentDraw()
    broker: BrokerDraw | None = None
    clocks: ClocksDraw = ClocksDraw()
    shape: ShapeDraw | None = None
    admission: AdmissionDraw | None = None
    chaos_ms: int
    floors: tuple[int, ...]
    places: PlacesDraw | None = None
    paths: PathsDraw = PathsDraw()
    keys: KeysDraw = KeysDraw()
    removals: RemovalsDraw = RemovalsDraw()
    builds: BuildsDraw = BuildsDraw()
    health: HealthDraw = HealthDraw()
    silence: SilenceDraw = SilenceDraw()
    checks: ChecksDraw | None = None
    models: ModelsDraw = ModelsDraw()
    control: ControlDraw = ControlDraw()
    metrics: MetricsDraw = MetricsDraw()
    installed: str = ""
    """The version that every device has from the beginning, nothing where they have none."""


Subject = Callable[[random.Random, Draws], Draws]
"""Draws one thing of a world that is drawn so far, from a chance of its own, and returns the world with it."""


def draw(seed: int) -> Draws:
    """Return the world of *seed*."""
    world = _plain(seed, random.Random(f"{seed}/draws"))
    for stream, subject in SUBJECTS.items():
        world = subject(random.Random(f"{seed}/{stream}"), world)
    return world


def _plain(seed: int, chance: random.Random) -> Draws:
    count = chance.choice((1, 2, 3, 3, 4, 4, 5, 6, DEVICES_MAX))
    jobs = chance.choice((1, 1, 2))
    devices = tuple(device_id(f"d{number}") for number in range(1, count + 1))
    return Draws(
        seed=seed,
        has_real_keys=seed % REAL_KEYS_EVERY == 0,
        devices=devices,
        rings=tuple(chance.choice(RINGS) for _ in devices),
        groups=tuple(_groups(chance) for _ in devices),
        pipelines=tuple(pipelines.draw_pipeline(chance, f"p{number}", devices) for number in range(1, jobs + 1)),
        priorities=tuple(chance.choice((0, 0, 5)) for _ in range(jobs)),
        network=faults.draw_network(chance),
        controller=faults.draw_controller(chance),
        device=faults.draw_device(chance),
        operator=people.draw_operator(chance),
        chaos_ms=int(chance.uniform(1, 8) * MINUTE),
        floors=chance.choice(((0, 0, 0), (0, 0, 0), (1, 1, 2), (0, 2, 3))),
    )


def _groups(chance: random.Random) -> tuple[str, ...]:
    return tuple(sorted(chance.sample(GROUPS, chance.choice((0, 1, 2)))))


def _with(world: Draws, **changes: Any) -> Draws:
    return msgspec.structs.replace(world, **changes)


def _acting(world: Draws, **changes: int) -> Draws:
    """Return a world in which operators do something else, too."""
    return _with(world, operator=msgspec.structs.replace(world.operator, **changes))


def _with_stages(world: Draws, change: Callable[[Stage], Stage]) -> Draws:
    """Return a world with another stage in place of each, unless it has a shape, whose stages are its own."""
    if world.shape is not None:
        return world
    return _with(world, pipelines=tuple(pipelines.changed(pipeline, change) for pipeline in world.pipelines))


# --- subjects: limits and rates ---------------------------------------------------------------------------------


def _clocks(chance: random.Random, world: Draws) -> Draws:
    clocks = faults.draw_clocks(chance)
    limits = {"attempt_ms": clocks.attempt_ms, "queued_ms": clocks.queued_ms}
    drawn = {name: span_ms for name, span_ms in limits.items() if span_ms}
    timed = tuple(pipelines.timed(pipeline, drawn) for pipeline in world.pipelines)
    return _with(world, clocks=clocks, pipelines=timed)


def _rates(chance: random.Random, world: Draws) -> Draws:
    return _with(world, pipelines=pipelines.paced(chance, world.pipelines))


def _broker(chance: random.Random, world: Draws) -> Draws:
    return _with(world, broker=faults.draw_broker(chance))


# --- subjects: people -------------------------------------------------------------------------------------------


def _rare_acts(chance: random.Random, world: Draws) -> Draws:
    gaps = [chance.choice((0, 0, 0, 30 * SECOND)) for _ in range(2)]
    return _acting(world, stop_gap_ms=gaps[0], decide_gap_ms=gaps[1])


def _calendar(chance: random.Random, world: Draws) -> Draws:
    return _acting(world, freeze_gap_ms=chance.choice((0, 0, 0, 40 * SECOND)))


def _consent(chance: random.Random, world: Draws) -> Draws:
    """Have stages ask for approvals in a quarter of all worlds, and include new devices in another quarter or so."""
    asks, includes = not chance.randrange(4), not chance.randrange(4)
    changed = _with_stages(world, partial(_consented, chance, asks=asks, includes=includes))
    return _with(changed, consent=people.draw_consent(chance))


def _consented(chance: random.Random, stage: Stage, *, asks: bool, includes: bool) -> Stage:
    if includes and chance.randrange(3):
        is_all = stage.targets == Targets()
        wanted = stage.targets if is_all or chance.randrange(2) else Targets(query=chance.choice(QUERIES))
        stage = msgspec.structs.replace(stage, targets=msgspec.structs.replace(wanted, include_new=True))
    if asks and chance.randrange(2):
        stage = msgspec.structs.replace(stage, trigger=Trigger.MANUAL, approvals=chance.choice((1, 2)))
    return stage


# --- subjects: pipelines ----------------------------------------------------------------------------------------


def _admission(chance: random.Random, world: Draws) -> Draws:
    """Let stages ask something of devices, where that is drawn."""
    admission = draw_admission(chance)
    if admission is None:
        return world
    return _with(world, admission=admission, pipelines=tuple(asking(chance, one) for one in world.pipelines))


def _shape(chance: random.Random, world: Draws) -> Draws:
    """Let some worlds have other pipelines than the plain ones, and more that starts them."""
    if chance.randrange(SHAPED_EVERY):
        return world
    draw_stage = partial(pipelines.draw_stage, devices=world.devices, is_last=False)
    shape = draw_shape(chance, world.pipelines, draw_stage, world.devices)
    return _with(world, shape=shape, pipelines=tuple(edits[-1] for edits in shape.edits))


def _reruns(chance: random.Random, world: Draws) -> Draws:
    """Let runs be tried again and rolled back in some worlds, which last long enough for devices to have had something.

    More of their stages fail.
    """
    if chance.randrange(RERUNS_EVERY):
        return world
    edits = [(pipeline,) for pipeline in world.pipelines] if world.shape is None else world.shape.edits
    changed = tuple(tuple(pipelines.with_rollback(chance, pipeline) for pipeline in each) for each in edits)
    return _with(
        _acting(world, rerun_gap_ms=RERUN_GAP_MS),
        shape=None if world.shape is None else msgspec.structs.replace(world.shape, edits=changed),
        pipelines=tuple(each[-1] for each in changed),
        chaos_ms=max(world.chaos_ms, RERUN_CHAOS_MS),
        floors=chance.choice((world.floors, (0, 2, 2), (0, 0, 3))),
    )


def _aged(chance: random.Random, world: Draws) -> Draws:
    """Let devices have something already, also where runs are taken back: then there is something to go back to.

    There stages fail at their ends, when some devices have gone forth, and fewer runs are terminated before.
    """
    is_taken_back = bool(world.operator.rerun_gap_ms)
    if chance.randrange(2 if is_taken_back else AGED_EVERY):
        return world
    aged = _with(world, installed=VERSIONS[0])
    if not is_taken_back:
        return aged
    device = msgspec.structs.replace(world.device, verify_fails=chance.uniform(0.1, 0.4))
    weights = {**world.operator.weights, "terminate": 0}
    operator = msgspec.structs.replace(world.operator, weights=weights)
    return _with(_with_stages(aged, pipelines.failing_late), device=device, operator=operator)


def _admitted_slowly(chance: random.Random, world: Draws) -> Draws:
    """Let stages that ask something of devices have a rate as well, and sites, in half of the worlds that have any."""
    if world.admission is None or chance.randrange(2):
        return world
    return _with_stages(world, partial(crowded, chance))


def _places(chance: random.Random, world: Draws) -> Draws:
    """Let devices tell something of themselves, and stages go by it, in some worlds."""
    places = draw_places(chance, world.devices)
    if places is None or world.shape is not None:
        return _with(world, places=places)
    return _with(world, places=places, pipelines=tuple(placed(chance, one) for one in world.pipelines))


def _growing(chance: random.Random, world: Draws) -> Draws:
    """Let a run include whom another one brings to a version, in some of the worlds that have two jobs."""
    if len(world.pipelines) == 1 or world.shape is not None or chance.randrange(GROWING_EVERY):
        return world
    first, second = world.pipelines
    everybody = pipelines.changed(second, pipelines.of_everybody)
    return _with(world, pipelines=(pipelines.changed(first, pipelines.of_whoever_comes), everybody))


def _paths(chance: random.Random, world: Draws) -> Draws:
    """Let people order from which versions releases may be installed."""
    return _with(world, paths=people.draw_paths(chance))


def _keys(chance: random.Random, world: Draws) -> Draws:
    """Let clients name their requests, and send them again."""
    return _with(world, keys=people.draw_keys(chance))


def _removals(chance: random.Random, world: Draws) -> Draws:
    """Let devices be taken out of the fleet, and brought back."""
    return _with(world, removals=people.draw_removals(chance))


def _builds(chance: random.Random, world: Draws) -> Draws:
    """Let a version be bad in some worlds, and their gates tell, where there is no shape with stages of its own."""
    if chance.randrange(builds.BUILDS_EVERY):
        return world
    version = VERSIONS[-1] if world.installed else VERSIONS[0]
    bad = _with(_larger(chance, world), builds=builds.draw_builds(chance, version))
    if world.shape is not None:
        return bad
    weights = {**world.operator.weights, "start": builds.START, "terminate": 0}
    hasty = {"gap_ms": min(world.operator.gap_ms, builds.GAP_MS_MAX), "decide_gap_ms": 0, "weights": weights}
    bad = _with(
        bad,
        operator=msgspec.structs.replace(world.operator, **hasty),
        device=msgspec.structs.replace(world.device, step_ms=min(world.device.step_ms, 5_000)),
        chaos_ms=max(world.chaos_ms, builds.CHAOS_MS),
    )
    return _with(bad, pipelines=tuple(builds.tested(chance, pipeline) for pipeline in bad.pipelines))


def _health(chance: random.Random, world: Draws) -> Draws:
    """Let the bad version of some worlds crash later, and devices tell of it."""
    drawn = None if world.builds == BuildsDraw() else health.draw_health(chance)
    if drawn is None:
        return world
    build, soaked = health.later(chance, world.builds), tuple(health.soaked(chance, one) for one in world.pipelines)
    return _with(world, health=drawn, builds=build, pipelines=world.pipelines if world.shape is not None else soaked)


def _proofs(chance: random.Random, world: Draws) -> Draws:
    """Let stages pass by proof in some worlds, where there is no shape with stages of its own."""
    if chance.randrange(proofs.PROOFS_EVERY) or world.shape is not None:
        return world
    return _with(world, pipelines=tuple(proofs.proved(chance, pipeline) for pipeline in world.pipelines))


def _control(chance: random.Random, world: Draws) -> Draws:
    """Let stages hold devices back in some worlds, where there is no shape with stages of its own."""
    if chance.randrange(control.CONTROL_EVERY) or world.shape is not None:
        return world
    weights = {**world.operator.weights, "start": builds.START, "terminate": 0}
    hasty = {"gap_ms": min(world.operator.gap_ms, builds.GAP_MS_MAX), "decide_gap_ms": 0, "weights": weights}
    larger = _of_size(chance, _calm(world) if chance.randrange(models.WILD_EVERY) else world, control.FLEET)
    bad = msgspec.structs.replace(world.builds, version=VERSIONS[-1])
    return _with(
        larger,
        control=control.draw_control(chance),
        installed=VERSIONS[0],
        builds=world.builds if world.builds.version else bad,
        operator=msgspec.structs.replace(larger.operator, **hasty),
        pipelines=tuple(control.held_back(chance, pipeline) for pipeline in world.pipelines),
        chaos_ms=max(world.chaos_ms, models.CHAOS_MS),
    )


def _silence(chance: random.Random, world: Draws) -> Draws:
    """Let stages mind who is offline in some worlds, where there is no shape with stages of its own."""
    if chance.randrange(silence.SILENCE_EVERY) or world.shape is not None:
        return world
    larger = world if world.models.of_devices else _larger(chance, world)
    calm = _calm(larger) if chance.randrange(models.WILD_EVERY) else larger
    weights = {**world.operator.weights, "start": builds.START, "terminate": 0}
    gap_ms = min(world.operator.gap_ms, builds.GAP_MS_MAX)
    return _with(
        calm,
        silence=silence.draw_silence(chance, world.builds.version),
        pipelines=tuple(silence.minded(chance, pipeline) for pipeline in world.pipelines),
        operator=msgspec.structs.replace(calm.operator, gap_ms=gap_ms, weights=weights),
        chaos_ms=max(world.chaos_ms, silence.CHAOS_MS),
    )


def _metrics(chance: random.Random, world: Draws) -> Draws:
    """Let stages that hold devices back compare what devices tell, in some worlds; in most of them little else does."""
    if world.control == ControlDraw() or chance.randrange(metrics.METRICS_EVERY):
        return world
    drawn = metrics.draw_metrics(chance)
    compared = tuple(metrics.compared(chance, one, drawn.metrics) for one in world.pipelines)
    measured = _with(world, metrics=drawn, pipelines=compared)
    if not chance.randrange(metrics.CRASHING_EVERY):
        return measured
    return _with(
        measured,
        pipelines=tuple(metrics.decided(chance, one, drawn.metrics) for one in compared),
        control=msgspec.structs.replace(world.control, worse=0.0, crashes=0.0),
        health=msgspec.structs.replace(world.health, ails=0.0),
        builds=msgspec.structs.replace(world.builds, fails=0.0, silences=0.0),
    )


def _larger(chance: random.Random, world: Draws) -> Draws:
    """Return a world with more devices in every other case."""
    count = chance.choice(builds.FLEETS)
    if world.places is not None or chance.randrange(2):
        return world
    return _of_size(chance, world, count)


def _of_size(chance: random.Random, world: Draws, count: int) -> Draws:
    """Return a world with so many devices at least, unless it says of each what it is like."""
    if world.places is not None:
        return world
    more = [device_id(f"d{number}") for number in range(len(world.devices) + 1, count + 1)]
    return _with(
        world,
        devices=(*world.devices, *more),
        rings=(*world.rings, *(chance.choice(RINGS) for _ in more)),
        groups=(*world.groups, *(_groups(chance) for _ in more)),
    )


def _crossings(chance: random.Random, world: Draws) -> Draws:
    """Let little fail in some worlds but that what is said crosses: commands, hellos, reports, pauses and resumes.

    Where work is short it ends before anybody hears of it; where it is long, hellos from before it come late.
    """
    if chance.randrange(CROSSING_EVERY) or world.builds != BuildsDraw():
        return world
    is_short = bool(chance.randrange(2))
    acts = {"start": 2, "promote": 1, "resume": 4} | ({"pause": 2} if is_short else {})
    device = faults.SHORT_WORK if is_short else faults.LONG_WORK
    return _with(
        _with_stages(world, pipelines.tried_often),
        network=faults.draw_slow_network(chance),
        broker=None if is_short and chance.randrange(2) else faults.draw_shaky_broker(chance),
        controller=faults.SOUND_CONTROLLER,
        device=device,
        operator=people.OperatorDraw(gap_ms=2 * SECOND, weights=dict.fromkeys(people.ACTS, 0) | acts),
        chaos_ms=max(world.chaos_ms, 0 if is_short else LONG_CHAOS_MS),
    )


def _checks(chance: random.Random, world: Draws) -> Draws:
    """Let stages ask outside in some worlds, where there is no shape with stages of its own."""
    if chance.randrange(checks.CHECKS_EVERY) or world.shape is not None:
        return world
    weights = {**world.operator.weights, "start": builds.START, "terminate": 0}
    gap_ms = min(world.operator.gap_ms, builds.GAP_MS_MAX)
    return _with(
        world,
        checks=checks.draw_checks(chance),
        pipelines=tuple(checks.checked(chance, pipeline) for pipeline in world.pipelines),
        operator=msgspec.structs.replace(world.operator, gap_ms=gap_ms, weights=weights),
        chaos_ms=max(world.chaos_ms, checks.CHAOS_MS),
    )


def _models(chance: random.Random, world: Draws) -> Draws:
    """Let devices be of several models in some worlds; where gates test a bad build, it is bad on some of them."""
    is_tested = world.builds.version != "" and world.shape is None
    if chance.random() >= (models.TESTED if is_tested else models.UNTESTED):
        return world
    if not is_tested:
        return _with(world, models=models.draw_models(chance, world.devices))
    larger = _of_size(chance, _calm(world) if chance.randrange(models.WILD_EVERY) else world, models.FLEET)
    draw = models.draw_models(chance, larger.devices)
    first = draw.names[: models.FIRST]
    return _with(
        larger,
        models=draw,
        rings=tuple(
            ring if model in first else RINGS[-1] for ring, model in zip(larger.rings, draw.of_devices, strict=True)
        ),
        builds=models.bad_on_some(chance, world.builds, draw.names),
        pipelines=tuple(models.told_apart(chance, pipeline) for pipeline in world.pipelines),
        chaos_ms=max(world.chaos_ms, models.CHAOS_MS),
    )


def _calm(world: Draws) -> Draws:
    """Return a world in which little strikes but the build and short deaths of the controller, so that much happens."""
    return _with(
        world,
        network=msgspec.structs.replace(world.network, **models.CALM_NETWORK),
        controller=models.CALM_CONTROLLER,
        device=msgspec.structs.replace(world.device, **models.CALM_DEVICE),
        operator=msgspec.structs.replace(world.operator, stop_gap_ms=0, freeze_gap_ms=0),
        consent=msgspec.structs.replace(world.consent, withdraw_gap_ms=0, relabel_gap_ms=models.RELABEL_GAP_MS),
    )


SUBJECTS: Final[Mapping[str, Subject]] = {
    "draws/clocks": _clocks,
    "draws/rates": _rates,
    "draws/broker": _broker,
    "rare": _rare_acts,
    "draws/calendar": _calendar,
    "consent": _consent,
    "admission": _admission,
    "draws/shape": _shape,
    "reruns": _reruns,
    "draws/installed": _aged,
    "admission/rates": _admitted_slowly,
    "draws/places": _places,
    "draws/growing": _growing,
    "draws/paths": _paths,
    "draws/keys": _keys,
    "draws/removals": _removals,
    "draws/builds": _builds,
    "draws/health": _health,
    "draws/crossings": _crossings,
    "draws/checks": _checks,
    "draws/models": _models,
    "draws/proofs": _proofs,
    "draws/control": _control,
    "draws/silence": _silence,
    "draws/metrics": _metrics,
}
"""Each subject by the name of its chance, in an order in which later ones change what earlier ones have drawn."""
