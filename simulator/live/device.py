"""One simulated device: the real agent's core, keys and journal, a real connection, and simulated steps.

The rules this module keeps:

1. Everything runs on the loop in callbacks; a device at rest is a timer and, while it is connected, a transport.
2. An event is fed only while the device has power; what timers and transports of an earlier life bring is ignored.
3. The journal outlives a power cut, and nothing else does.
"""

import asyncio
import random
from typing import Final, Protocol

from agent.clock import boottime_ms, new_incarnation, new_nonce
from agent.core.effects import (
    Abort,
    Alarm,
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
from agent.core.model import Durable, Fault, Profile, Trust, Work
from agent.journal import MemoryJournal
from agent.runtime import Effect, Publish, Runtime
from protocol.ids import AppName
from protocol.topics import DownlinkKind, UplinkKind
from protocol.trust import ReleaseInfo
from protocol.units import SECOND
from simulator.live.behaviour import Character
from simulator.live.enrolment import Papers
from simulator.live.history import Record, deeds
from simulator.live.radio import Air, Radio
from simulator.live.steps import Load, Steps

POWER_OFF_MS: Final = 3_000
WAKE_MS_MIN: Final = 10
"""The least wait before a wake-up: a deadline that stays in the past must not become a busy loop."""
NO_REPORT: Final = 0
"""The token of a QoS 1 message that is no report: numbers of reports begin at 1."""


class Host(Air, Protocol):
    """What a device asks of the process that it lives in."""

    load: Load
    record: Record | None

    @property
    def trust(self) -> Trust:
        """What devices judge by."""

    async def fetch(self, papers: Papers, releases: tuple[ReleaseInfo, ...]) -> Fault | None:
        """Really fetch the artifacts of *releases*; return what went wrong, if anything."""

    async def refresh(self, papers: Papers) -> None:
        """Fetch the release file anew; `trust` is what came of it."""


class Device:
    """One device; implements `simulator.live.radio.User`."""

    __slots__ = (
        "_boot_count",
        "_chance",
        "_deadline_at",
        "_host",
        "_journal",
        "_profile",
        "_radio",
        "_runtime",
        "_steps",
        "_timers",
        "character",
        "papers",
    )

    def __init__(self, character: Character, papers: Papers, *, host: Host, profile: Profile) -> None:
        """Take what the device is like, its papers, the process, and what it says it is."""
        self.character = character
        self.papers = papers
        self._host = host
        self._profile = profile
        self._chance = random.Random(f"{character.seed}/power")
        self._journal = MemoryJournal()
        self._boot_count = 0
        self._runtime: Runtime | None = None
        self._radio = Radio(character, papers, air=host, user=self)
        self._steps = Steps(character, load=host.load, fetch=self._fetch, feed=self.feed, now=boottime_ms)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._deadline_at: int | None = None

    # --- power ----------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Start, or start again after a power cut."""
        self._boot_count += 1
        self._runtime = Runtime(
            journal=self._journal,
            signer=self.papers.signer,
            trust=self._host.trust,
            profile=self._profile,
            name=self.papers.name,
            incarnation=new_incarnation(),
        )
        self.feed(Started(at=boottime_ms(), boot=f"simulated-{self._boot_count}"))
        self._radio.switch_on(after_ms=self.character.away_ms if self._boot_count == 1 else 0)

    def power_off(self) -> None:
        """Lose everything but the journal."""
        self._runtime = None
        self._steps.call_off()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._deadline_at = None
        self._radio.switch_off()

    def leave(self) -> None:
        """End for good, with a goodbye."""
        self._radio.leave()
        self.power_off()

    def drop(self) -> None:
        """Lose the connection, or the power."""
        if self._chance.random() < self.character.power_share:
            self.power_off()
            self._after("power", self._chance.uniform(0.2, 1) * POWER_OFF_MS)
        else:
            self._radio.cut("the network is gone (simulated)")

    # --- what is known --------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether there is a connection with granted subscriptions."""
        return self._radio.is_up

    @property
    def is_working(self) -> bool:
        """Whether there is work in hand."""
        return self._runtime is not None and self._runtime.state.durable.work is not None

    @property
    def installed(self) -> dict[AppName, str]:
        """What was last committed: versions by app."""
        durable, _ = self._journal.load()
        return {} if durable is None else {AppName(r.app): r.version for r in durable.installed}

    @property
    def unsettled(self) -> int:
        """How many reports the controller has not acknowledged."""
        return 0 if self._runtime is None else self._runtime.outbox_count

    @property
    def spread_ms(self) -> int:
        """The spread that the last hello reply asked for."""
        return 0 if self._runtime is None else self._runtime.state.session.spread_ms

    def renew_trust(self, trust: Trust) -> None:
        """Judge by *trust* from now on."""
        if self._runtime is not None:
            self._runtime.renew_trust(trust)

    # --- events and effects ---------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> None:
        """Fold an event and carry out what it leads to."""
        runtime = self._runtime
        if runtime is None:
            return
        before = runtime.state.durable
        effects = runtime.feed(event)
        if self._host.record is not None and runtime.state.durable is not before:
            self._host.record(deeds(before, runtime.state.durable, effects, at=event.at))
        for effect in effects:
            self._carry_out(effect)
        if runtime.state.durable.finals is not before.finals:
            self._count_ends(before, runtime.state.durable)
        self._settle()

    def _count_ends(self, before: Durable, after: Durable) -> None:
        """Count how attempts ended in a step; one that is rejected, or only watches, was never work in hand."""
        known = {(ended.run, ended.attempt) for ended in before.finals}
        for ended in after.finals:
            if (ended.run, ended.attempt) not in known:
                self._host.counts[f"{ended.state}:{ended.reason}" if ended.reason else ended.state.value] += 1

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Publish(kind=kind, payload=payload, qos=qos):
                self._radio.publish(kind, payload, token=NO_REPORT if qos else None)
            case RefreshReleases():
                self._host.spawn(self._refresh())
            case Reconnect():
                self._radio.cut("the hello stays unanswered")
            case Download() | Install() | Inspect() | Verify() | Commit() | RollBack():
                self._steps.begin(effect, self.installed)
            case Abort():
                self._steps.call_off()
            case Alarm(kind=kind):
                self._host.counts[f"alarm:{kind}"] += 1
            case Measure(run=run, attempt=attempt):
                self.feed(Measured(at=boottime_ms(), run=run, attempt=attempt))
            case Clean() | WatchOver():
                pass

    async def _fetch(self, work: Work) -> Fault | None:
        return await self._host.fetch(self.papers, work.releases)

    async def _refresh(self) -> None:
        await self._host.refresh(self.papers)
        self.feed(ReleasesRefreshed(at=boottime_ms()))

    # --- time -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Publish what is due, and set the clock for what is next."""
        runtime = self._runtime
        if runtime is None:
            return
        if self._radio.is_up:
            for row in runtime.take(boottime_ms()):
                self._radio.publish(UplinkKind.REPORT, row.raw, token=row.report_seq)
        due = runtime.next_deadline()
        if due is None or (self._deadline_at is not None and self._deadline_at <= due):
            return
        self._deadline_at = due
        self._after("wake", max(WAKE_MS_MIN, due - boottime_ms()))

    def _after(self, what: str, span_ms: float) -> None:
        timer = self._timers.get(what)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[what] = loop.call_later(span_ms / SECOND, self._due, what)

    def _due(self, what: str) -> None:
        self._timers.pop(what, None)
        match what:
            case "wake":
                self._deadline_at = None
                self.feed(Woke(at=boottime_ms(), nonce=new_nonce()))
            case "drop":
                self.drop()
            case "power":
                self.power_on()

    # --- the radio's side -----------------------------------------------------------------------------------

    def connected(self, nonce: str) -> None:
        """Say hello; a flaky connection will not last."""
        self.feed(Connected(at=boottime_ms(), nonce=nonce))
        if self.character.drop_ms:
            self._after("drop", self._chance.expovariate(1) * self.character.drop_ms)

    def disconnected(self) -> None:
        """Take note that the connection is gone."""
        self.feed(Disconnected(at=boottime_ms()))

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Take a message of the controller."""
        at = boottime_ms()
        if kind is DownlinkKind.COMMAND:
            self.feed(CommandReceived(at=at, raw=payload))
        else:
            self.feed(AnswerReceived(at=at, raw=payload))

    def settled(self, token: int) -> None:
        """Take the transport's acknowledgement of a report."""
        if self._runtime is not None and token != NO_REPORT:
            self._runtime.released(token, at=boottime_ms())
            self._settle()
