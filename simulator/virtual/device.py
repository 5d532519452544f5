"""One simulated device: the real agent's runtime on a journal that may fail or kill, on a machine that loses power.

The rules this module keeps:

1. The journal and the disk outlive the agent, and nothing else does; a power cut also ends the boot, and with it
   trusted time.
2. An event is fed to a living agent only; while the journal cannot be written, events wait in their order.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

from msgspec.structs import replace

from agent.core.effects import (
    Abort,
    Alarm,
    AlarmKind,
    Clean,
    Commit,
    Download,
    Inspect,
    Install,
    Measure,
    Reconnect,
    RefreshReleases,
    RollBack,
    Verify,
    WatchOver,
)
from agent.core.events import (
    AnswerReceived,
    AnyEvent,
    CommandReceived,
    Connected,
    Disconnected,
    Measured,
    ReleasesRefreshed,
    Started,
    Woke,
)
from agent.core.model import Durable, Profile, State, Trust
from agent.errors import StorageError
from agent.runtime import Effect, Publish, Runtime
from protocol.codec import encode
from protocol.ids import Name
from protocol.messages import Gone
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import SECOND
from simulator.virtual.ailments import Ailments
from simulator.virtual.connection import NOTICE_MS_MAX, Connection
from simulator.virtual.gauges import Gauges
from simulator.virtual.installer import NOTHING, Installer
from simulator.virtual.journal import MortalJournal
from simulator.virtual.keys import Pair
from simulator.virtual.oracle import Oracle
from simulator.virtual.places import CAPABILITY
from simulator.virtual.ports import Killed
from simulator.virtual.server import Server
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

PROFILE: Final = Profile(model="k1", agent="virtual", installers=frozenset({"archive"}))
NEW_PROFILE: Final = replace(PROFILE, agent="virtual-2", capabilities=(CAPABILITY,))
INCARNATION: Final = "1" * 16
DIAL_MS_MAX: Final = 2_000
DOUBLINGS_MAX: Final = 4
ANSWER_MS_MAX: Final = 5_000
RETRY_MS: Final = SECOND
RESTART_MS: Final = 2 * SECOND
MILLION: Final = 1_000_000


class Device:
    """One device; `label` tells clones of one identity apart."""

    def __init__(
        self,
        world: World,
        server: Server,
        oracle: Oracle,
        *,
        name: Name,
        label: str,
        key: Pair,
        trusts: Sequence[Trust],
        kept: Durable | None = None,
        profile: Profile = PROFILE,
        incarnation: str = INCARNATION,
    ) -> None:
        """Take the world, its name and key, and the states of trust it may have: the last is the newest.

        With `kept` its agent has run before, and has installed what that lists.
        """
        self.name: Final = name
        self.label: Final = label
        self.connection: Connection | None = None
        self._world = world
        self._server = server
        self._oracle = oracle
        self.key: Final = key
        self._incarnation = incarnation
        self._is_scrapped = False
        self._trusts = trusts
        self._profile = profile
        self._chance = world.chance(f"{label}/device")
        self._cuts = world.chance(f"{label}/silence")
        drift = world.draws.device.drift_ppm
        self._drift_ppm = self._chance.randint(min(0, drift), max(0, drift))
        self._booted_at = 0
        self._boot_count = 0
        self._life = 0
        self._runtime: Runtime | None = None
        self._waiting: deque[Callable[[int], AnyEvent]] = deque()
        self._wake_at: int | None = None
        self._tries = 0
        self._failures = 0
        knows_all = self._chance.random() < world.draws.device.releases_known
        self._trust = trusts[-1] if knows_all else trusts[0]
        self.journal = MortalJournal(world, label, dropped=partial(oracle.dropped, name))
        active = NOTHING if kept is None else kept.installed[0].sha256
        self.installer = Installer(
            world, label, model=profile.model, active=active, feed=self._feed_later, silence=self._fall_silent
        )
        self._ailments = Ailments(world, label, self._feed_later)
        self._gauges = Gauges(world, label)
        self._reading = world.chance(f"{label}/reading")
        if kept is not None:
            self.journal.begin_with(kept)

    # --- life ---------------------------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether an agent is running."""
        return self._runtime is not None

    @property
    def durable(self) -> Durable | None:
        """What the journal holds."""
        return self.journal.load()[0]

    @property
    def unsettled_count(self) -> int:
        """How many reports the controller has not acknowledged."""
        return len(self.journal.load()[1])

    def power_on(self) -> None:
        """Boot the machine and start the agent."""
        if self.is_on:
            return
        self._boot_count += 1
        self._booted_at = self._world.now
        self.start()

    def start(self) -> None:
        """Start the agent, in this boot."""
        if self.is_on or self._is_scrapped:
            return
        try:
            runtime = Runtime(
                journal=self.journal,
                signer=self.key,
                trust=self._trust,
                profile=self._profile,
                name=self.name,
                incarnation=self._incarnation,
            )
        except (StorageError, Killed):
            self._world.scheduler.after(RETRY_MS, self.start)
            return
        self._runtime = runtime
        boot = f"{self.label}-{self._boot_count}"
        self._world.say(self.label, f"starts (boot {self._boot_count})")
        self._feed(lambda at: Started(at=at, boot=boot))
        self._dial()

    def crash(self, *, off_ms: int | None = None) -> None:
        """End the agent, or with *off_ms* the machine, at once."""
        if not self.is_on:
            return
        self._world.say(self.label, "agent killed" if off_ms is None else f"power cut for {off_ms} ms")
        if self.installer.is_installing:
            self._world.sometimes(Sometimes.AGENT_KILLED_INSTALLING)
        self._runtime = None
        self._life += 1
        self._waiting.clear()
        self._wake_at = None
        self._tries += 1
        self._failures = 0
        self.installer.call_off()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.cut()
        if off_ms is None:
            self._world.scheduler.after(self._chance.randint(0, RESTART_MS), self.start)
        else:
            self._world.scheduler.after(off_ms, self.power_on)

    def _fall_silent(self) -> None:
        """Be off until the world heals: somebody comes then, and switches it on."""
        self._world.sometimes(Sometimes.FELL_SILENT)
        self.crash(off_ms=max(1, self._world.draws.chaos_ms - self._world.elapsed_ms))

    def _may_be_cut_off(self, before: Durable, after: Durable) -> None:
        """Where the build that it has from now on cuts devices off, be gone before long, until the world heals."""
        draw = self._world.draws.silence
        is_new = any(one not in before.installed and draw.version in {"", one.version} for one in after.installed)
        if is_new and self._world.strikes(draw.cuts, self._cuts):
            self._in_this_life(self._cuts.randint(1, 2 * draw.cuts_ms), self._be_cut_off)

    def _be_cut_off(self) -> None:
        if not self._world.is_healed:
            self._world.sometimes(Sometimes.CUT_OFF_LATER)
            self.crash(off_ms=max(1, self._world.draws.chaos_ms - self._world.elapsed_ms))

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def can_all(self) -> bool:
        """Whether its agent can do what any operation may require."""
        return CAPABILITY in self._profile.capabilities

    def tells(self, facts: Mapping[str, str]) -> None:
        """Tell something else of itself from the next hello on."""
        self._world.say(self.label, f"will tell {dict(facts)}")
        self._become(replace(self._profile, facts=facts))

    def renew_agent(self) -> None:
        """Run a newer agent, which keeps the journal of the old one."""
        self._world.say(self.label, "gets a newer agent")
        kept = tuple(one for one in self._profile.capabilities if one != CAPABILITY)
        self._become(replace(NEW_PROFILE, facts=self._profile.facts, capabilities=(*NEW_PROFILE.capabilities, *kept)))
        self.crash()

    def _become(self, profile: Profile) -> None:
        self._profile = profile
        if self._runtime is not None:
            self._runtime.profile = profile

    def scrap(self) -> None:
        """End for good."""
        self._is_scrapped = True
        self.crash()

    # --- connection ---------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        """Try to connect, some time soon; a newer try makes all older ones void."""
        self._tries += 1
        number = self._tries
        longest_ms = DIAL_MS_MAX << min(self._failures, DOUBLINGS_MAX)
        self._in_this_life(self._chance.randint(1, longest_ms), lambda: self._try(number))

    def _try(self, number: int) -> None:
        if number != self._tries:
            return
        nonce = self._nonce()
        self._server.dial(
            self.name,
            self,
            will=encode(Gone(connection=nonce)),
            admitted=lambda connection: self._admitted(connection, nonce, number),
            refused=lambda: self._refused(number),
        )
        self._in_this_life(ANSWER_MS_MAX, lambda: self._failed(number))

    def _admitted(self, connection: Connection, nonce: str, number: int) -> None:
        if number != self._tries or not self.is_on:
            connection.cut()
            return
        self.connection = connection
        self._failures = 0
        self._feed(lambda at: Connected(at=at, nonce=nonce))

    def _refused(self, number: int) -> None:
        picture = self._oracle.picture
        if picture.names[self.name].id in picture.removed:
            self._world.sometimes(Sometimes.REMOVED_REFUSED)
        self._failed(number)

    def _failed(self, number: int) -> None:
        """Try again: it was refused, or nobody answered because the controller died meanwhile."""
        if number == self._tries and self.is_on and self.connection is None:
            self._failures += 1
            self._dial()

    def lost(self, connection: Connection) -> None:
        """Learn that the connection is gone."""
        if self.connection is connection:
            self.connection = None
            self._feed(lambda at: Disconnected(at=at))
            self._dial()

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Take a message of the controller, or of somebody who says so."""
        if kind is DownlinkKind.COMMAND:
            self._feed(lambda at: CommandReceived(at=at, raw=payload))
        else:
            self._feed(lambda at: AnswerReceived(at=at, raw=payload))

    def _hang_up(self) -> None:
        """Begin the connection anew; as when a network interface begins anew, the other end hears nothing of it."""
        connection = self.connection
        if connection is not None:
            self._world.sometimes(Sometimes.HUNG_UP)
            self._world.say(self.label, "hangs up")
            connection.cut(notice_ms_max=NOTICE_MS_MAX)
            self.lost(connection)

    # --- events and effects -------------------------------------------------------------------------------------

    def _at(self) -> int:
        """Read the boot-time clock, which drifts."""
        since = self._world.now - self._booted_at
        return since + since * self._drift_ppm // MILLION

    def _nonce(self) -> str:
        return self._chance.randbytes(16).hex()

    def _in_this_life(self, span_ms: int, act: Callable[[], None]) -> None:
        life = self._life
        self._world.scheduler.after(span_ms, lambda: act() if life == self._life else None)

    def _feed_later(self, event: Callable[[int], AnyEvent]) -> None:
        self._feed(event)

    def _feed(self, event: Callable[[int], AnyEvent]) -> None:
        """Fold an event, or keep it until the journal can be written."""
        if self._runtime is None:
            return
        self._waiting.append(event)
        if len(self._waiting) == 1:
            self._drain()

    def _drain(self) -> None:
        while self._waiting and self._runtime is not None:
            try:
                self._fold(self._runtime, self._waiting[0](self._at()))
            except StorageError:
                self._in_this_life(RETRY_MS, self._drain)
                return
            except Killed:
                self.crash()
                return
            if self._waiting:
                self._waiting.popleft()
        self._settle()

    def _fold(self, runtime: Runtime, event: AnyEvent) -> None:
        before = runtime.state
        try:
            effects = runtime.feed(event)
        except Killed:
            self._show_what_is_kept(before)
            raise
        self._show(before, runtime.state)
        for effect in effects:
            if self._runtime is runtime:
                self._carry_out(effect, runtime.state)

    def _show_what_is_kept(self, before: State) -> None:
        """Show a step that the agent did not live to act on: what the journal kept did happen."""
        durable = self.durable
        if durable is not None and durable != before.durable:
            self._show(before, replace(before, durable=durable))

    def _show(self, before: State, after: State) -> None:
        has_ended = before.durable.work is not None and after.durable.work is None
        if has_ended and self._world.strikes(self._world.draws.device.hangs_up, self._chance):
            self._in_this_life(ANSWER_MS_MAX, self._hang_up)
        self._oracle.stepped(self.label, self.name, before, after, active=self.installer.active)
        self._may_be_cut_off(before.durable, after.durable)

    def _carry_out(self, effect: Effect, state: State) -> None:
        match effect:
            case Publish(kind=kind, payload=payload):
                if self.connection is not None:
                    self.connection.up(kind, payload)
            case RefreshReleases():
                self._in_this_life(self._chance.randint(1, RETRY_MS), self._refreshed)
            case Reconnect():
                if self.connection is not None:
                    self.connection.cut()
            case Install():
                self._oracle.installs(self.label, self.name, state, active=self.installer.active)
                self.installer.begin(effect)
            case Download() | Inspect() | Verify() | Commit() | RollBack():
                self.installer.begin(effect)
            case WatchOver() | Measure():
                self._look(effect, state)
            case Abort():
                self.installer.call_off()
            case Alarm(kind=kind, detail=detail):
                self._alarm(kind, detail)
            case Clean():
                pass
            case _:
                assert_never(effect)

    def _look(self, asked: WatchOver | Measure, state: State) -> None:
        """Look after the apps, or read what they tell some time soon."""
        if isinstance(asked, WatchOver):
            self._ailments.attend(asked.apps, state.durable)
        else:
            self._in_this_life(self._reading.randint(1, RETRY_MS), lambda: self._measure(asked))

    def _measure(self, asked: Measure) -> None:
        """Read what the apps tell now."""
        assert self._runtime is not None, "what is asked of an agent ends with it"
        told = self._gauges.read(self._runtime.state.durable)
        self._oracle.measured(self.label, asked.run, asked.attempt, told.outputs)
        self._feed(lambda at: Measured(at=at, run=asked.run, attempt=asked.attempt, told=told))

    def _alarm(self, kind: AlarmKind, detail: str) -> None:
        self._world.say(self.label, f"alarm {kind}: {detail}")
        lies = {AlarmKind.COMMAND_REFUSED, AlarmKind.UNTRUSTED_ANSWER, AlarmKind.FOREIGN_ANSWER}
        if self._world.draws.network.hostility and kind in lies:
            self._world.sometimes(Sometimes.HOSTILE_REFUSED)

    def _refreshed(self) -> None:
        if self._runtime is not None:
            self._world.sometimes(Sometimes.RELEASES_REFRESHED)
            self._trust = self._trusts[-1]
            self._runtime.renew_trust(self._trust)
            self._feed(lambda at: ReleasesRefreshed(at=at))

    # --- time ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Publish what is due, and wake up for what is next."""
        runtime = self._runtime
        if runtime is None:
            return
        if self.connection is not None:
            for row in runtime.take(self._at()):
                self.connection.up(UplinkKind.REPORT, row.raw, self._released(row.report_seq))
        due = runtime.next_deadline()
        if due is not None and (self._wake_at is None or due < self._wake_at):
            self._wake_at = due
            self._in_this_life(max(1, due - self._at()) + 1, lambda: self._wake(due))

    def _wake(self, due: int) -> None:
        if self._wake_at == due:
            self._wake_at = None
            nonce = self._nonce()
            self._feed(lambda at: Woke(at=at, nonce=nonce))

    def _released(self, report_seq: int) -> Callable[[], None]:
        life = self._life

        def settled() -> None:
            if life == self._life and self._runtime is not None:
                self._runtime.released(report_seq, at=self._at())
                self._settle()

        return settled
