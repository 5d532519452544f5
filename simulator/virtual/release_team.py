"""Who changes what is rolled out, in worlds that draw it: people who edit stages and fill channels, and a build system.

The build system calls hooks, and calls again with the same id when it pleases: also after it was answered.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from controller.app import channels, hooks, jobs, pipelines, runs
from controller.app.access import Actor
from controller.app.controller import Controller
from controller.app.hooks import Delivery, secret_of, signature_of
from controller.domain.parameters import Given
from controller.domain.pipeline import Pipeline
from protocol.units import SECOND
from simulator.virtual.beginning import APP
from simulator.virtual.draws import VERSIONS
from simulator.virtual.picture import Picture
from simulator.virtual.server import Server
from simulator.virtual.shapes import CHANNEL, DELIVERY, FLIGHT, FLIGHT_MAX, ShapeDraw
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

REPEAT_MS_MAX: Final = 120 * SECOND

Use = Callable[..., Coroutine[Any, Any, Any]]
Ask = Callable[[str, str, Use], None]


class ReleaseTeam:
    """Acts on one world with a shape; does nothing in others."""

    def __init__(self, world: World, server: Server, picture: Picture, *, ask: Ask) -> None:
        self._world = world
        self._server = server
        self._picture = picture
        self._ask = ask
        self._chance = world.chance("release team")
        self._delivery_count = 0

    def begin(self) -> None:
        """Act now and then, as long as faults are in force."""
        shape = self._world.draws.shape
        if shape is not None:
            self._after(shape.gap_ms, lambda: self._act(shape))

    def settle(self) -> None:
        """Take away what would start runs for ever."""
        for name in self._picture.starting(self._world.draws):
            self._ask("take the triggers of", name, partial(jobs.set_triggers, name=name, triggers=()))

    def _after(self, mean_ms: int, act: Callable[[], None]) -> None:
        def unless_healed() -> None:
            if not self._world.is_healed:
                act()

        self._world.scheduler.after(1 + int(self._chance.expovariate(1) * mean_ms), unless_healed)

    def _act(self, shape: ShapeDraw) -> None:
        number = self._chance.randrange(len(shape.edits))
        name = shape.edits[number][0].name
        match self._chance.randrange(6):
            case 0:
                self._edit(self._chance.choice(shape.edits[number]))
            case 1 | 2:
                self._start(name)
            case 3 | 4 if shape.hooks[number] is not None:
                self._call(name, str(shape.hooks[number]))
            case _:
                self._fill()
        self.begin()

    def _edit(self, definition: Pipeline) -> None:
        is_running = any(run.job == definition.name for run in self._picture.runs.values() if run.ended_at is None)
        if is_running and self._picture.newest(definition.name) != definition:
            self._world.sometimes(Sometimes.SHAPE_EDITED)
        self._ask("edit", definition.name, partial(pipelines.apply, definition=definition))

    def _start(self, name: str) -> None:
        is_open = bool(self._picture.newest(name).parameters)
        parameters = {FLIGHT: self._chance.randint(1, FLIGHT_MAX)} if is_open and self._chance.randrange(4) else {}
        self._ask("start", name, partial(runs.start, job=name, given=Given(parameters=parameters)))

    def _fill(self) -> None:
        """Put a release into the channel, or take it out, so that it can be put there once more."""
        version = self._chance.choice(VERSIONS)
        act, use = self._chance.choice((("put into", channels.add), ("take from", channels.remove)))
        self._ask(f"{act} {CHANNEL}", version, partial(use, app=APP, version=version, channel=CHANNEL))

    def _call(self, name: str, hook: str) -> None:
        self._delivery_count += 1
        delivery, queue = f"d{self._delivery_count}", bool(self._chance.randrange(2))
        body = msgspec.json.encode({"env": {DELIVERY: delivery}, "queue": queue})
        self._deliver(name, hook, delivery, body)
        if self._chance.randrange(2):
            self._world.sometimes(Sometimes.CALLED_TWICE)
            span_ms = self._chance.randint(1, REPEAT_MS_MAX)
            self._world.scheduler.after(span_ms, lambda: self._deliver(name, hook, delivery, body))

    def _deliver(self, name: str, hook: str, delivery: str, body: bytes) -> None:
        timestamp = str(self._server.wall.now() // SECOND)

        def use(controller: Controller, _: Actor) -> Coroutine[Any, Any, Any]:
            secret = secret_of(controller, hook)
            signatures = signature_of(secret, id=delivery, timestamp=timestamp, body=body)
            call = Delivery(id=delivery, timestamp=timestamp, signatures=signatures, body=body)
            return hooks.receive(controller, job=name, delivery=call)

        self._ask(f"call the hook of {name} for", delivery, use)
