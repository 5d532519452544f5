"""The controller as a process: it boots, may be killed at any instant, and boots again on the same database."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from controller.app import checking, wakeups
from controller.app.controller import Controller
from controller.app.dispatch import Dispatcher
from controller.app.errors import ControllerError
from controller.app.inbox import Inbox
from controller.app.progress import ProgressBoard
from controller.app.repositories import Store
from controller.documents import resolve
from controller.observe import Meters
from protocol.ids import Name, TenantId, tenant_id
from protocol.messages import RootVersions, Tick
from protocol.units import SECOND, Instant
from simulator.virtual.answers import Page, Pages
from simulator.virtual.broker import Broker
from simulator.virtual.connection import Connection, DeviceEnd
from simulator.virtual.endpoint import Endpoint
from simulator.virtual.keys import Keys
from simulator.virtual.lanes import Lanes
from simulator.virtual.network import Network
from simulator.virtual.oracle import Oracle
from simulator.virtual.picture import Session
from simulator.virtual.ports import (
    Killed,
    MortalStore,
    NoArtifacts,
    SeededChance,
    SlowCompute,
    Stamp,
    VirtualClock,
    WallClock,
)
from simulator.virtual.scheduler import Act, Task
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

TENANT: Final[TenantId] = tenant_id("acme")
DIRECTOR: Final = "director"
TIME: Final = "time"
RESTART_MS: Final = SECOND
RELEASE_BATCHES_MAX: Final = (1, 2, 3, 256)
"""Fleets are small here: a run must go on in a next transaction, and in some worlds need not."""
METERS: Final = Meters()
"""Counts nobody reads here; making a registry for each life would take longer than most lives."""

Answered = Callable[[Any], None]
Failed = Callable[[ControllerError | None], None]
"""Told why a use case was refused; None: the controller died, and nobody knows whether it was done."""


class SeenBoard(ProgressBoard):
    """What one life of the controller knows of progress, shown to the oracle as it comes in."""

    def __init__(self, oracle: Oracle) -> None:
        """Begin empty."""
        super().__init__()
        self._oracle = oracle

    def note(self, name: Name, tick: Tick, *, at: Instant) -> None:
        """Show and keep it."""
        self._oracle.ticked(name, tick)
        super().note(name, tick, at=at)


class Life:
    """One life of the controller."""

    def __init__(self, server: "Server") -> None:
        world, keys = server.world, server.keys
        self._tasks: list[Task] = []
        self._server = server
        clock, compute, inbox = VirtualClock(world, server.wall), SlowCompute(world), Inbox()
        store = MortalStore(server.store, world, committed=server.oracle.committed, told=server.oracle.told)
        self.transport = self._new_transport(inbox)
        self._store = store
        dispatcher = Dispatcher(
            store=store,
            transport=self.transport,
            director=keys.pair(DIRECTOR),
            clock=clock,
            compute=compute,
            meters=METERS,
        )
        self.controller = Controller(
            tenant=TENANT,
            store=store,
            clock=clock,
            chance=server.chance,
            compute=compute,
            transport=self.transport,
            artifacts=NoArtifacts(),
            authority=Stamp(),
            time_key=keys.pair(TIME),
            fleet_root=b"",
            release_root=b"",
            roots=RootVersions(fleet=1, release=1),
            base_url="https://controller",
            dispatcher=dispatcher,
            progress=SeenBoard(server.oracle),
            meters=METERS,
            resolve=resolve,
            hook_key=bytes(32),
            keys=keys.ring,
            release_batch_max=world.chance("release-batch").choice(RELEASE_BATCHES_MAX),
        )
        inbox.open(self.controller)
        dispatcher.on_kick = self._kick
        self.controller.questions.on_put = self._put_questions
        self.is_up = False
        self.spawn(self._run())

    def _new_transport(self, inbox: Inbox) -> Endpoint | Lanes:
        server = self._server
        world, broker, chance = server.world, server.broker, server.transport_chance
        if broker is None:
            return Endpoint(world, inbox, chance=chance, spawn=self.spawn, handed=self._handed)
        return Lanes(world, inbox, broker, chance=chance, spawn=self.spawn, handed=self._handed)

    def _handed(self, name: Name, kind: Any, payload: bytes) -> None:
        self._store.has_unmarked = True
        self._server.oracle.handed(name, kind, payload)

    async def _run(self) -> None:
        """What `controller.serving` does, without sockets."""
        await self._server.store.read(self._server.oracle.restarted)
        await wakeups.recover(self.controller)
        self.is_up = True
        if isinstance(self.transport, Lanes):
            self.transport.begin()
        await wakeups.run_for_ever(self.controller)

    def _kick(self) -> None:
        """Let the pump run when the loop gets round to it."""
        span_ms = self._server.kicks.randint(0, self._server.world.draws.controller.compute_ms)
        self._server.world.scheduler.after(span_ms, lambda: self.spawn(self.controller.dispatcher.pump()))

    def _put_questions(self) -> None:
        """What `controller.app.checking` does for ever."""
        while (question := self.controller.questions.take()) is not None:
            self.spawn(checking.put_question(self.controller, Page(self._server.pages, question), question))

    def spawn(
        self,
        work: Coroutine[Any, Any, Any],
        *,
        answered: Answered = lambda _: None,
        failed: Failed | None = None,
    ) -> None:
        """Run a coroutine of this life, soon: never within another one, which a death would find at work."""
        if self._server.life is not self and self._server.life is not None:
            work.close()
            return
        task = Task(work, on_error=partial(self._ended, failed), on_result=answered)
        self._tasks = [t for t in self._tasks if not t.is_over]
        self._tasks.append(task)
        self._server.world.scheduler.after(0, task.go_on)

    def _ended(self, failed: Failed | None, error: BaseException) -> None:
        match error:
            case Killed():
                if failed is not None:
                    failed(None)
                self._server.kill()
            case ControllerError() if failed is not None:
                failed(error)
            case ControllerError():
                self._server.world.say("controller", f"a loop begins again: {error}")
                self._server.world.scheduler.after(RESTART_MS, self._again)
            case _:
                self._server.world.violated("no fault of ours", repr(error))

    def _again(self) -> None:
        """What the supervisor of `controller.serving` does."""
        if self._server.life is self:
            self.spawn(self._run())

    def end(self) -> None:
        """Stop where everything stands."""
        for task in self._tasks:
            task.kill()
        self._tasks = []
        self.transport.die()


class Server:
    """The machine that the controller runs on: its database and its clock outlive the controller."""

    def __init__(
        self, world: World, network: Network, store: Store, *, wall: WallClock, keys: Keys, oracle: Oracle
    ) -> None:
        self.world: Final = world
        self.store: Final = store
        self.keys: Final = keys
        self.oracle: Final = oracle
        self.wall: Final = wall
        self.chance: Final = SeededChance(world)
        self.pages: Final = Pages(world, oracle)
        self.transport_chance: Final = world.chance("endpoint")
        self.broker: Final = None if world.draws.broker is None else Broker(network)
        self.kicks: Final = world.chance("controller/kicks")
        self.life: Life | None = None
        self._network = network
        self._down = world.chance("controller/down")
        oracle.picture.session = self._session
        oracle.picture.instance = lambda: None if self.life is None else self.life.transport.instance
        if self.broker is not None:
            oracle.picture.connection = self.broker.connection
            oracle.picture.is_lane_up = self._is_lane_up

    def boot(self) -> None:
        """Begin a life."""
        self.world.say("controller", "boots")
        self.life = None
        self.life = Life(self)

    def kill(self) -> None:
        """End this life at once, and begin another one later."""
        if self.life is None:
            return
        self.world.say("controller", "is killed")
        life, self.life = self.life, None
        life.end()
        self.oracle.picture.died()
        longest_ms = self.world.draws.controller.down_ms
        span_ms = self._down.randint(0, RESTART_MS if self.world.is_healed else longest_ms)
        if span_ms > 20 * SECOND:
            self.world.sometimes(Sometimes.CONTROLLER_DOWN_LONG)
        self.world.scheduler.after(span_ms, self.boot)

    def stop(self) -> None:
        """End for good, with whatever is under way."""
        if self.life is not None:
            life, self.life = self.life, None
            life.end()

    def _session(self, name: Name) -> Session | None:
        return None if self.life is None else self.life.transport.whole_session(name)

    def _is_lane_up(self, name: Name) -> bool:
        return self.life is not None and isinstance(self.life.transport, Lanes) and self.life.transport.is_up(name)

    def request(
        self, work: Callable[[Controller], Coroutine[Any, Any, Any]], *, answered: Answered, failed: Failed
    ) -> None:
        """Carry out a use case, as the API does; not answered at all when the controller is down or dies."""
        if self.life is None or not self.life.is_up:
            failed(None)
            return
        self.life.spawn(work(self.life.controller), answered=answered, failed=failed)

    def dial(
        self, name: Name, device: DeviceEnd, *, will: bytes, admitted: Callable[[Connection], None], refused: Act
    ) -> None:
        """Let a device try to connect."""
        end = self._end()
        if end is None or self._network.is_cut_off(name):
            refused()
            return
        connection = Connection(self._network, name, device=device, endpoint=end, will=will)
        end.arrive(connection, admitted=lambda: admitted(connection), refused=refused)

    def _end(self) -> Endpoint | Broker | None:
        """Return whom devices connect to, None where nobody is there."""
        if self.broker is not None:
            return self.broker
        life = self.life
        if life is None or not life.is_up:
            return None
        assert isinstance(life.transport, Endpoint), "without a broker there is an endpoint"
        return life.transport
