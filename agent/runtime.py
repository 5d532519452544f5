"""The runtime of one agent: feed an event, get what is left to do. No thread, no clock.

It is shared by two shells: the threads of a real device (`agent.loop`) and the simulator, which drives
thousands. A shell does this:

```
runtime = Runtime(journal=…, signer=…, trust=…, profile=…, name=…, incarnation=…)
loop:
    for effect in runtime.feed(event):        # raises StorageError: feed the same event again later
        carry it out                          # see `Effect`; what comes of it is the next event
    for row in runtime.take(at):              # while connected: after every event and every PUBACK
        publish row.raw on topic "report", QoS 1
    on PUBACK of a row, good or bad: runtime.released(report_seq, at=at)
    sleep until runtime.next_deadline() or the next event, then feed Woke(at, nonce)
```

The rules this module keeps:

1. Step, then journal (state and outbox in one transaction), then effects: what the shell is told to do has
   always been journalled before.
2. A report is signed when it is journalled, so that every resend is byte-identical.
3. A commit that fails changes nothing: neither the state nor the outbox in memory.
"""

from typing import Final

import msgspec

from agent.core.effects import (
    Abort,
    Alarm,
    Clean,
    Commit,
    Download,
    DropReports,
    FileReport,
    Inspect,
    Install,
    Measure,
    Reconnect,
    RefreshReleases,
    RollBack,
    SayHello,
    SendTick,
    Verify,
    WatchOver,
)
from agent.core.effects import Effect as CoreEffect
from agent.core.events import AnyEvent, Connected, Disconnected
from agent.core.machine import next_deadline, step
from agent.core.model import Durable, Profile, State, Trust
from agent.journal import Journal, Row
from agent.outbox import Outbox
from protocol.codec import encode
from protocol.envelope import SigningKey, seal
from protocol.ids import Name
from protocol.messages import MESSAGE_BYTES_MAX, Hello, PayloadType, Report, StateReport
from protocol.topics import UplinkKind

QOS_SURE: Final = 1
QOS_LOSSY: Final = 0


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """Publish these bytes on the device's topic of this kind, once."""

    kind: UplinkKind
    payload: bytes
    qos: int


Effect = (
    Publish
    | RefreshReleases
    | Reconnect
    | Download
    | Install
    | Inspect
    | Verify
    | Commit
    | RollBack
    | Clean
    | WatchOver
    | Measure
    | Abort
    | Alarm
)
"""What is left for a shell to do. Work steps end with `Finished` or `Inspected`, one at a time, in order.

A `Measure` ends with `Measured`, which is the last word on it: no other is asked for until then.
"""


def sealed(message: Hello | Report, payload_type: PayloadType, signer: SigningKey) -> bytes:
    """Sign *message*; where it is longer than a message may be, leave out installed apps from the end on."""
    while True:
        raw = seal(encode(message), payload_type, signer)
        if len(raw) <= MESSAGE_BYTES_MAX:
            return raw
        assert isinstance(message, Hello | StateReport), "only lists of installed apps make messages long"
        assert message.installed, "what is left of a message always fits"
        shorter = message.installed[: len(message.installed) * 3 // 4]
        message = msgspec.structs.replace(message, installed=shorter)


class Runtime:
    """One agent's state, journal and outbox, behind `feed`."""

    def __init__(
        self,
        *,
        journal: Journal,
        signer: SigningKey,
        trust: Trust,
        profile: Profile,
        name: Name,
        incarnation: str,
    ) -> None:
        """Load the journal, or begin it.

        Args:
            journal: where state and outbox survive.
            signer: the device's key for messages.
            trust: what the device judges by; see `renew_trust`.
            profile: what the device is.
            name: the device's name.
            incarnation: 16 random hexadecimal digits; used only where the journal is new.

        Raises:
            JournalCorrupt: when the journal cannot be read.
            StorageError: when a new one cannot be written.
        """
        self._journal = journal
        self._signer = signer
        self.trust = trust
        self.profile = profile
        durable, rows = journal.load()
        if durable is None:
            durable = Durable(name=name, incarnation=incarnation)
            journal.commit(durable)
        self._state = State(durable=durable)
        self._outbox = Outbox(rows)

    @property
    def state(self) -> State:
        """The core's state; look, do not keep."""
        return self._state

    @property
    def outbox_count(self) -> int:
        """How many reports are not settled."""
        return len(self._outbox)

    def feed(self, event: AnyEvent) -> list[Effect]:
        """Fold *event*, journal what changed, and return what is left to do.

        Raises:
            StorageError: when it could not be journalled; nothing has changed, feed the same event again
                later.
        """
        stepped = step(self._state, event, trust=self.trust, profile=self.profile)
        added: list[Row] = []
        dropped: list[int] = []
        effects: list[Effect] = []
        for effect in stepped.effects:
            self._sort(effect, added, dropped, effects)
        if stepped.state.durable != self._state.durable:
            self._journal.commit(stepped.state.durable, add=added, drop=dropped)
        self._settle(stepped.state, event, added, dropped)
        return effects

    def _sort(self, effect: CoreEffect, added: list[Row], dropped: list[int], effects: list[Effect]) -> None:
        """Part what the journal does from what is left to the shell."""
        match effect:
            case FileReport(report=report):
                added.append(Row(report.report_seq, sealed(report, PayloadType.REPORT, self._signer)))
            case DropReports(report_seqs=report_seqs):
                dropped.extend(report_seqs)
            case SayHello(hello=hello):
                raw = sealed(hello, PayloadType.HELLO, self._signer)
                effects.append(Publish(kind=UplinkKind.HELLO, payload=raw, qos=QOS_SURE))
            case SendTick(tick=tick):
                effects.append(Publish(kind=UplinkKind.TICK, payload=encode(tick), qos=QOS_LOSSY))
            case _:
                effects.append(effect)

    def _settle(self, state: State, event: AnyEvent, added: list[Row], dropped: list[int]) -> None:
        """Take over what is journalled now."""
        self._state = state
        for row in added:
            self._outbox.add(row)
        for report_seq in dropped:
            self._outbox.drop(report_seq)
        if isinstance(event, Connected):
            self._outbox.connected()
        elif isinstance(event, Disconnected):
            self._outbox.disconnected()

    def take(self, at: int) -> list[Row]:
        """Return the reports to publish now: QoS 1, topic ``report``, these very bytes."""
        return self._outbox.take(at)

    def released(self, report_seq: int, *, at: int) -> None:
        """Take the transport's answer to a report, good or bad; only the signed acknowledgement drops it."""
        self._outbox.released(report_seq, at=at)

    def next_deadline(self) -> int | None:
        """Return when to feed `Woke` and `take` again at the latest, on the boot-time clock."""
        times = [next_deadline(self._state), self._outbox.next_due()]
        return min((time for time in times if time is not None), default=None)

    def renew_trust(self, trust: Trust) -> None:
        """Judge by *trust* from the next event on."""
        self.trust = trust
