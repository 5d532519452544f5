"""One simulated device: the real agent's core, keys and journal, a real connection, and simulated steps.

The rules this module keeps:

1. Everything runs on the loop in callbacks; a device at rest is a timer and, while it is connected, a transport.
2. An event is fed only while the device has power; what timers and transports of an earlier life bring is ignored.
3. It reconnects with full jitter over a doubling limit, and the spread that the controller asked for.
"""

import asyncio
import os
import random
import ssl
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from agent.clock import boottime_ms, new_incarnation, new_nonce
from agent.core.backoff import full_jitter, spread
from agent.core.effects import (
    Abort,
    Alarm,
    Clean,
    Commit,
    Download,
    Inspect,
    Install,
    Reconnect,
    RefreshReleases,
    RollBack,
    Verify,
)
from agent.core.events import (
    AnswerReceived,
    AnyEvent,
    CommandReceived,
    Connected,
    Disconnected,
    ReleasesRefreshed,
    Started,
    Woke,
)
from agent.core.model import Fault, Profile, Trust
from agent.journal import MemoryJournal
from agent.runtime import Effect, Publish, Runtime
from protocol.codec import encode
from protocol.ids import AppName
from protocol.messages import Gone
from protocol.topics import DownlinkKind, UplinkKind
from protocol.trust import ReleaseInfo
from protocol.units import SECOND
from simulator.live.behaviour import Character
from simulator.live.enrolment import Papers
from simulator.live.link import Link, Topics
from simulator.live.steps import Load, Steps

RECONNECT_BASE_MS: Final = 500
RECONNECT_CAP_MS: Final = 30_000
HANDSHAKE_SECONDS: Final = 30
POWER_OFF_MS: Final = 3_000
NO_REPORT: Final = 0
"""The token of a QoS 1 message that is no report: numbers of reports begin at 1."""


class Host(Protocol):
    """What a device asks of the process that it lives in."""

    load: Load
    counts: Counter[str]
    dialling: asyncio.Semaphore

    @property
    def trust(self) -> Trust:
        """What devices judge by."""

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where the endpoint is."""

    def tls(self, papers: Papers) -> ssl.SSLContext:
        """Return a TLS context with the device's certificate."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* until the process ends."""

    async def fetch(self, papers: Papers, releases: tuple[ReleaseInfo, ...]) -> Fault | None:
        """Really fetch the artifacts of *releases*; return what went wrong, if anything."""

    async def refresh(self, papers: Papers) -> None:
        """Fetch the release file anew; `trust` is what came of it."""


class Device:
    """One device. It owns its journal, so that a power cut is a new `Runtime` over the same one."""

    __slots__ = (
        "_boot_count",
        "_chance",
        "_deadline_at",
        "_host",
        "_is_dialling",
        "_journal",
        "_link",
        "_profile",
        "_runtime",
        "_steps",
        "_timers",
        "_topics",
        "_try_count",
        "character",
        "is_up",
        "papers",
    )

    def __init__(self, character: Character, papers: Papers, *, host: Host, profile: Profile) -> None:
        """Take what the device is like, its papers, the process, and what it says it is."""
        self.character = character
        self.papers = papers
        self.is_up = False
        self._host = host
        self._profile = profile
        self._chance = random.Random(f"{character.seed}/network")
        self._journal = MemoryJournal()
        self._topics = Topics.of(papers.name)
        self._boot_count = 0
        self._try_count = 0
        self._is_dialling = False
        self._link: Link | None = None
        self._runtime: Runtime | None = None
        self._steps = Steps(
            character,
            load=host.load,
            fetch=lambda work: host.fetch(papers, work.releases),
            feed=self.feed,
            now=boottime_ms,
        )
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
        self._after("dial", self.character.away_ms if self._boot_count == 1 else 0)

    def power_off(self) -> None:
        """Lose everything but the journal."""
        self._runtime = None
        self._steps.call_off()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._deadline_at = None
        if self._link is not None:
            self._link.cut("the power is gone")

    def leave(self) -> None:
        """End for good, with a goodbye."""
        link, self._link = self._link, None
        if link is not None:
            link.leave()
        self.power_off()

    # --- what is known --------------------------------------------------------------------------------------

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

    # --- events and effects ---------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> None:
        """Fold an event and carry out what it leads to."""
        runtime = self._runtime
        if runtime is None:
            return
        before = runtime.state.durable.work
        for effect in runtime.feed(event):
            self._carry_out(effect)
        durable = runtime.state.durable
        if before is not None and durable.work is None and durable.finals:
            ended = durable.finals[-1]
            self._host.counts[f"{ended.state}:{ended.reason}" if ended.reason else ended.state.value] += 1
        self._settle()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Publish(kind=kind, payload=payload, qos=qos):
                if self._link is not None:
                    self._link.publish(kind, payload, token=NO_REPORT if qos else None)
            case RefreshReleases():
                self._host.spawn(self._refresh())
            case Reconnect():
                if self._link is not None:
                    self._link.cut("the hello stays unanswered")
            case Download() | Install() | Inspect() | Verify() | Commit() | RollBack():
                self._steps.begin(effect, self.installed)
            case Abort():
                self._steps.call_off()
            case Alarm(kind=kind):
                self._host.counts[f"alarm:{kind}"] += 1
            case Clean():
                pass

    def _settle(self) -> None:
        """Publish what is due, and set the clock for what is next."""
        runtime = self._runtime
        if runtime is None:
            return
        if self.is_up and self._link is not None:
            for row in runtime.take(boottime_ms()):
                self._link.publish(UplinkKind.REPORT, row.raw, token=row.report_seq)
        due = runtime.next_deadline()
        if due is None or (self._deadline_at is not None and self._deadline_at <= due):
            return
        self._deadline_at = due
        self._after("wake", max(0, due - boottime_ms()))

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
            case "dial":
                self._dial()
            case "drop":
                self.drop()
            case "power":
                self.power_on()

    async def _refresh(self) -> None:
        await self._host.refresh(self.papers)
        self.feed(ReleasesRefreshed(at=boottime_ms()))

    def renew_trust(self, trust: Trust) -> None:
        """Judge by *trust* from now on."""
        if self._runtime is not None:
            self._runtime.renew_trust(trust)

    # --- the connection -------------------------------------------------------------------------------------

    def _dial(self) -> None:
        if self._runtime is not None and self._link is None and not self._is_dialling:
            self._is_dialling = True
            self._host.spawn(self._connect())

    async def _connect(self) -> None:
        nonce = new_nonce()
        will = encode(Gone(connection=nonce))
        host, port = self._host.mqtt

        def link() -> Link:
            return Link(self, name=self.papers.name, topics=self._topics, will=will, nonce=nonce)

        try:
            async with self._host.dialling:
                _, made = await asyncio.get_running_loop().create_connection(
                    link,
                    host,
                    port,
                    ssl=self._host.tls(self.papers),
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                )
        except OSError as error:
            self._is_dialling = False
            self._host.counts[f"dial:{type(error).__name__}"] += 1
            self._dial_later()
            return
        self._is_dialling = False
        if self._runtime is None:
            made.cut("the power is gone")
        elif not made.is_over:
            self._link = made

    def _dial_later(self) -> None:
        if self._runtime is None:
            return
        wait_ms = full_jitter(
            attempt=self._try_count,
            base_ms=RECONNECT_BASE_MS,
            cap_ms=RECONNECT_CAP_MS,
            seed=f"{self.character.seed}/{self._chance.random()}",
        )
        self._try_count += 1
        self._after("dial", wait_ms + (self._spread_ms() if self._try_count == 1 else 0))

    def _spread_ms(self) -> int:
        """Return a draw within the spread that the last hello reply asked for."""
        asked_ms = 0 if self._runtime is None else self._runtime.state.session.spread_ms
        return spread(asked_ms, seed=f"{self.character.seed}/{self._chance.random()}")

    def up(self, link: Link) -> None:
        """Take note that the subscriptions are granted."""
        if self._runtime is None:
            link.cut("the power is gone")
            return
        self._link = link
        self.is_up = True
        self._try_count = 0
        self.feed(Connected(at=boottime_ms(), nonce=link.nonce))
        if self.character.drop_ms:
            self._after("drop", self._chance.expovariate(1) * self.character.drop_ms)

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

    def lost(self, link: Link, why: str) -> None:
        """Take note that the connection is gone, and come back."""
        if link is not self._link and self._link is not None:
            return
        was_up, self.is_up, self._link = self.is_up, False, None
        if was_up:
            self.feed(Disconnected(at=boottime_ms()))
        self._host.counts[f"lost:{why}"] += 1
        self._dial_later()

    def drop(self) -> None:
        """Lose the connection, or the power."""
        if self._chance.random() < self.character.power_share:
            self.power_off()
            self._after("power", self._chance.uniform(0.2, 1) * POWER_OFF_MS)
        elif self._link is not None:
            self._link.cut("the network is gone (simulated)")


def client_context(ca: str, pem: bytes) -> ssl.SSLContext:
    """Return the TLS context of a device; the key passes through memory only, though `ssl` reads files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    file = os.memfd_create("papers")
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context
