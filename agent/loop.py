"""The shell of a real device: one thread that owns the runtime, fed by the link, the steps and the errands.

The rules this module keeps:

1. Only this thread touches the runtime and the journal. Everything else reaches it through one queue.
2. An event that cannot be journalled is fed again until it can: the agent holds, and goes on by itself.
3. No exception ends the loop but one that the journal is corrupt: the rest is logged, counted, and gone on
   from.
"""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, assert_never

import msgspec

from agent.clock import boottime_ms, new_nonce, system_ms
from agent.connection import Down, News, Received, Released, Up
from agent.core.backoff import full_jitter
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
    ReleasesRefreshed,
    Started,
    Woke,
)
from agent.core.model import Trust
from agent.errors import AgentError, JournalCorrupt, PeerError, StorageError, Unreachable
from agent.logs import fields
from agent.mqtt import Link
from agent.retry import retrying
from agent.runtime import Effect, Publish, Runtime
from agent.steps import Steps
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import HOUR, SECOND, Instant

log = logging.getLogger(__name__)

INBOX_MAX: Final = 1_000
"""Commands and answers beyond this many are dropped: the controller sends again what counts."""
STORAGE_BASE_MS: Final = 1 * SECOND
STORAGE_CAP_MS: Final = 60 * SECOND
WAIT_MAX_SECONDS: Final = 60.0
RENEWAL_CHECK_MS: Final = 1 * HOUR
REFRESH_TRIES_MAX: Final = 4
STOP_SECONDS: Final = 10.0


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop cannot do itself.

    `refresh` fetches the release file as of a trusted time, where at least a version is wanted; `renew`
    renews the certificate; `renewal_due_ms` says when that is due, in milliseconds since 1970.
    """

    refresh: Callable[[Instant, int], Trust]
    renew: Callable[[], None]
    renewal_due_ms: Callable[[], int]


class _Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    trust: Trust | None


class Loop:
    """The agent as it runs on a device."""

    def __init__(self, runtime: Runtime, ports: Ports, *, boot: str, facts_of: Callable[[], dict[str, str]]) -> None:
        """Take the runtime, what fetches and renews, the boot's id, and what reads the device's facts."""
        self._runtime = runtime
        self._ports = ports
        self._boot = boot
        self._facts_of = facts_of
        self._inbox: queue.Queue[News | AnyEvent | _Refreshed | None] = queue.Queue()
        self._stopping = threading.Event()
        self._link: Link
        self._steps: Steps
        self.counts: Counter[str] = Counter()

    # --- what other threads call ---

    def tell(self, news: News | AnyEvent) -> None:
        """Take news of the link or the steps."""
        if isinstance(news, Received) and self._inbox.qsize() > INBOX_MAX:
            self.counts["inbox_overflow"] += 1
            return
        self._inbox.put(news)

    def spread_ms(self) -> int:
        """Return the spread that the last hello reply asked for."""
        return self._runtime.state.session.spread_ms

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._stopping.set()
        self._inbox.put(None)

    # --- the loop's own thread ---

    def run(self, link: Link, steps: Steps) -> None:
        """Run until `stop`.

        Raises:
            JournalCorrupt: when the journal cannot be read any more.
        """
        self._link, self._steps = link, steps
        steps.start()
        self._feed(Started(at=boottime_ms(), boot=self._boot))
        link.start()
        errands = threading.Thread(target=self._renew_in_time, name="renewal", daemon=True)
        errands.start()
        while not self._stopping.is_set():
            try:
                self._turn()
            except JournalCorrupt:
                raise
            except Exception:
                self.counts["loop_errors"] += 1
                log.exception("loop_error")
        link.stop(seconds=STOP_SECONDS)
        steps.stop(seconds=STOP_SECONDS)

    def _turn(self) -> None:
        """Wait for one thing and deal with it."""
        try:
            thing = self._inbox.get(timeout=self._wait_seconds())
        except queue.Empty:
            self._feed(Woke(at=boottime_ms(), nonce=new_nonce()))
        else:
            if thing is not None:
                self._take(thing)
        self._send_reports()

    def _wait_seconds(self) -> float:
        deadline = self._runtime.next_deadline()
        if deadline is None:
            return WAIT_MAX_SECONDS
        return min(max(deadline - boottime_ms(), 0) / SECOND, WAIT_MAX_SECONDS)

    def _take(self, thing: News | AnyEvent | _Refreshed) -> None:
        at = boottime_ms()
        match thing:
            case Up(nonce=nonce):
                profile = msgspec.structs.replace(self._runtime.profile, facts=self._facts_of())
                self._runtime.profile = profile
                self._feed(Connected(at=at, nonce=nonce))
            case Down():
                self._feed(Disconnected(at=at))
            case Received(kind=DownlinkKind.COMMAND, raw=raw):
                self._feed(CommandReceived(at=at, raw=raw))
            case Received(raw=raw):
                self._feed(AnswerReceived(at=at, raw=raw))
            case Released(report_seq=report_seq, code=code):
                self._runtime.released(report_seq, at=at)
                self.counts[f"puback_{code}"] += 1
            case _Refreshed(trust=trust):
                if trust is not None:
                    self._runtime.renew_trust(trust)
                self._feed(ReleasesRefreshed(at=at))
            case _:
                self._feed(thing)

    def _feed(self, event: AnyEvent) -> None:
        """Feed an event until it is journalled, then do what it asks for."""
        attempt = 0
        while not self._stopping.is_set():
            try:
                effects = self._runtime.feed(event)
            except StorageError as error:
                self.counts["storage_errors"] += 1
                log.error("journal_not_written", extra=fields(error=error, attempt=attempt))  # noqa: TRY400
                wait_ms = full_jitter(attempt=attempt, base_ms=STORAGE_BASE_MS, cap_ms=STORAGE_CAP_MS, seed=new_nonce())
                self._stopping.wait((wait_ms + SECOND) / SECOND)
                attempt += 1
            else:
                for effect in effects:
                    self._do(effect)
                return

    def _send_reports(self) -> None:
        for row in self._runtime.take(boottime_ms()):
            self._link.publish(UplinkKind.REPORT, row.raw, qos=1, report_seq=row.report_seq)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Publish(kind=kind, payload=payload, qos=qos):
                self._link.publish(kind, payload, qos=qos)
            case Download() | Install() | Inspect() | Verify() | Commit() | RollBack() | Clean() | Measure():
                self._steps.ask(effect)
            case WatchOver(apps=apps):
                self._steps.attend(frozenset(apps))
            case Abort():
                self._steps.abort()
            case RefreshReleases():
                threading.Thread(target=self._refresh, name="refresh", daemon=True).start()
            case Reconnect():
                self._link.reconnect()
            case Alarm(kind=kind, detail=detail):
                self.counts[kind] += 1
                log.warning(kind.value, extra=fields(detail=detail))
            case _:
                assert_never(effect)

    # --- errands, in threads of their own ---

    def _refresh(self) -> None:
        """Fetch the release file; whatever comes of it, the commands that wait for it are judged then."""
        trust = None
        try:
            state = self._runtime.state
            at = state.now(boottime_ms()) or state.durable.time_floor
            call = retrying(sleep=self._stopping.wait, tries_max=REFRESH_TRIES_MAX)
            trust = call(self._ports.refresh, at, state.durable.release_version)
        except AgentError as error:
            log.warning("releases_not_refreshed", extra=fields(error=error))
        except Exception:
            log.exception("releases_refresh_failed")
        self._inbox.put(_Refreshed(trust=trust))

    def _renew_in_time(self) -> None:
        """Renew the certificate at two thirds of its life; the next connection uses the new one."""
        while not self._stopping.is_set():
            try:
                if system_ms() >= self._ports.renewal_due_ms():
                    retrying(sleep=self._stopping.wait, errors=(Unreachable,))(self._ports.renew)
                    log.info("certificate_renewed")
            except (PeerError, Unreachable) as error:
                log.error("certificate_not_renewed", extra=fields(error=error))  # noqa: TRY400
            except Exception:
                log.exception("renewal_failed")
            self._stopping.wait(RENEWAL_CHECK_MS / SECOND)
