"""A controller with everything real but the outside: the database in memory, time by hand, devices by name.

A test lets devices say things and looks at what they were told:

```
rig = Rig()
rig.enrol("kiosk-1", region="eu")
rig.connect("kiosk-1")
run = rig.start(stage())
rig.succeed("kiosk-1")
assert rig.counters(run) == {"succeeded": 1}
```
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app import jobs, pipelines, runs, wakeups
from controller.app.access import Actor, Role
from controller.app.controller import Controller
from controller.app.dispatch import Dispatcher
from controller.app.errors import InvalidRequest
from controller.app.heartbeat import BEAT_MS
from controller.app.inbox import Inbox
from controller.app.ports import Disposition, IssuedCertificate, Priority, Transport, Uplinked
from controller.app.progress import ProgressBoard
from controller.app.records import DeviceRecord, ReleaseRecord
from controller.app.repositories import Store
from controller.app.views import RunView
from controller.documents import resolve
from controller.domain.pipeline import Operation, Pipeline, Stage
from controller.observe import Meters
from controller.store.inline_store import InlineStore
from controller.store.sql_store import SqlStore
from protocol.codec import encode
from protocol.envelope import SigningKey, parse, seal, verify
from protocol.health import Mark
from protocol.ids import AppName, Digest, Name, StageName, device_id, digest_of, name_of, tenant_id
from protocol.keys import Ed25519Signing, ring_of
from protocol.lifecycle import AttemptState, Left
from protocol.messages import (
    Ack,
    Command,
    Gone,
    HealthReport,
    Hello,
    HelloReply,
    InstalledRelease,
    MeasureReport,
    Mode,
    PayloadType,
    RefusalReport,
    Report,
    RootVersions,
    StateReport,
    WorkInHand,
)
from protocol.reasons import Reason, RejectCode
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import Instant, later
from simulator.memory.store import MemoryStore
from simulator.virtual.scheduler import run_now

S = TypeVar("S")
T = TypeVar("T")

TENANT = tenant_id("acme")
START = Instant(1_800_000_000_000)
ADMIN = Actor(name="ann", role=Role.ADMIN)
APP = AppName("shop")
INCARNATION = "1" * 16


class HandClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> Instant:
        return self.time

    async def sleep_until(self, at: Instant) -> None:
        self.time = max(self.time, at)

    async def pause_until(self, at: Instant) -> None:
        self.time = max(self.time, at)

    def wake(self) -> None:
        return


class Counting:
    """Chance that is none: 1, 2, 3 …"""

    def __init__(self) -> None:
        self.drawn = 0

    def token(self, byte_count: int) -> str:
        self.drawn += 1
        return f"{self.drawn:0{byte_count * 2}x}"


class Inline:
    """Computing where one stands."""

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    async def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        return [work(item) for item in items]


class Wire:
    """A transport whose sessions a test opens and closes, and that keeps what was written."""

    def __init__(self) -> None:
        self.instance = 7
        self.sessions: dict[Name, int] = {}
        self.written: list[tuple[Name, DownlinkKind, bytes]] = []
        self.closed: list[Name] = []
        self.is_full = False

    @property
    def session_count(self) -> int:
        return len(self.sessions)

    def session(self, name: Name) -> int:
        return self.sessions.get(name, 0)

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        if not self.session(name) or (self.is_full and kind is DownlinkKind.COMMAND):
            return False
        self.written.append((name, kind, payload))
        return True

    def close(self, name: Name, *, reason: str) -> None:
        self.sessions.pop(name, None)
        self.closed.append(name)


class Shelf:
    """Artifacts that are there because a test says so."""

    def __init__(self) -> None:
        self.sizes: dict[Digest, int] = {}

    async def put(self, chunks: AsyncIterator[bytes], *, expected: Digest, length: int) -> None:
        data = b"".join([chunk async for chunk in chunks])
        if digest_of(data) != expected or len(data) != length:
            raise InvalidRequest("other bytes")
        self.sizes[expected] = length

    def size(self, digest: Digest) -> int | None:
        return self.sizes.get(digest)

    def read(self, digest: Digest, *, start: int, length: int) -> Iterator[bytes]:
        raise NotImplementedError


class Stamp:
    """An issuer that stamps everything but the word ``bad``."""

    def issue(self, csr_pem: str, name: Name, *, at: Instant) -> IssuedCertificate:
        if csr_pem == "bad":
            raise InvalidRequest("expected a signing request")
        return IssuedCertificate(certificate_pem=f"cert of {name}", chain_pem="chain", serial="1", expires=later(at, 7))


@dataclass
class Device:
    """What a test's device keeps."""

    name: Name
    key: Ed25519Signing
    hello_seq: int = 0
    report_seq: int = 0
    commands: list[tuple[Digest, Command]] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    replies: list[HelloReply] = field(default_factory=list)

    def signed(self, report: Report) -> Uplinked:
        """Return a report of this device, signed and not yet told."""
        payload = seal(encode(report), PayloadType.REPORT, self.key)
        return Uplinked(name=self.name, kind=UplinkKind.REPORT, payload=payload)


class Rig:
    """A controller, and devices that a test moves by hand; its database is in memory, and speaks SQL by default."""

    make_store: ClassVar[Callable[[], InlineStore | MemoryStore]] = InlineStore

    def __init__(
        self,
        *,
        store: Store | None = None,
        wait: Callable[[Coroutine[Any, Any, Any]], Any] = run_now,
        inbox: Inbox | None = None,
        transport: Transport | None = None,
        **ports: Any,
    ) -> None:
        self.clock = HandClock()
        self.store = store or type(self).make_store()
        self.wait = wait
        self.wire = Wire()
        self.transport: Transport = transport or self.wire
        self.shelf = Shelf()
        self.chance = Counting()
        self.director = Ed25519Signing(Ed25519PrivateKey.generate())
        self.time_key = Ed25519Signing(Ed25519PrivateKey.generate())
        self.devices: dict[str, Device] = {}
        self.inbox = inbox or Inbox()
        self._ports = ports
        self.controller = self.new_controller()
        self.inbox.open(self.controller)
        self._read = 0

    def new_controller(self) -> Controller:
        """Return a controller with nothing in its memory, on the same database."""
        meters, compute = Meters(), Inline()
        director: SigningKey = self.director
        dispatcher = Dispatcher(
            store=self.store,
            transport=self.transport,
            director=director,
            clock=self.clock,
            compute=compute,
            meters=meters,
        )
        defaults: dict[str, Any] = {
            "tenant": TENANT,
            "store": self.store,
            "clock": self.clock,
            "chance": self.chance,
            "compute": compute,
            "transport": self.transport,
            "artifacts": self.shelf,
            "authority": Stamp(),
            "time_key": self.time_key,
            "fleet_root": b"fleet",
            "release_root": b"release",
            "roots": RootVersions(fleet=1, release=1),
            "base_url": "https://controller",
            "dispatcher": dispatcher,
            "progress": ProgressBoard(),
            "meters": meters,
            "resolve": resolve,
            "hook_key": bytes(32),
        }
        return Controller(**(defaults | self._ports))

    def close(self) -> None:
        """Forget the database."""
        assert isinstance(self.store, InlineStore | MemoryStore | SqlStore)
        self.store.close()

    # --- the operator -------------------------------------------------------------------------------------------

    def do(self, use_case: Callable[..., Coroutine[Any, Any, T]], actor: Actor = ADMIN, **arguments: Any) -> T:
        """Carry out a use case as an operator, and send what it leaves to be sent."""
        result: T = self.wait(use_case(self.controller, actor, **arguments))
        self.pump()
        return result

    def publish(self, version: str = "1.0.0", counter: int = 1, floor: int = 0) -> None:
        """Have a release as if the release keys had signed it."""
        record = ReleaseRecord(
            app=APP,
            version=version,
            path=f"{APP}/{version}/{APP}.tar.gz",
            sha256=digest_of(version.encode()),
            length=10,
            counter=counter,
            floor=floor,
            installer="archive",
            hardware=(),
            published_at=START,
        )
        self.wait(self.store.write(lambda tx: tx.catalog.add_releases([record]), priority=Priority.OPERATOR))

    def start(self, *stages: Stage, version: str = "1.0.0", **pipeline: Any) -> str:
        """Apply a pipeline of *stages*, start a run of a job over it, and return the run's id."""
        if not any(job.name == "job" for job in self.do(jobs.list_jobs)):
            self.publish(version)
        return self.start_published(*stages, version=version, **pipeline)

    def start_with(
        self, *stages: Stage, version: str = "1.0.0", requires: tuple[str, ...] = (), **pipeline: Any
    ) -> str:
        """Start a run whose operation *requires* what agents must be able to do."""
        self.publish(version)
        return self.start_published(*stages, version=version, requires=requires, **pipeline)

    def start_published(
        self, *stages: Stage, version: str = "1.0.0", requires: tuple[str, ...] = (), **pipeline: Any
    ) -> str:
        """Start a run of a release that is there."""
        definition = Pipeline(name="rollout", stages=stages, **pipeline)
        self.do(pipelines.apply, definition=definition)
        if not any(job.name == "job" for job in self.do(jobs.list_jobs)):
            operation = Operation(app=APP, version=version, requires=requires)
            self.do(jobs.create, name="job", pipeline="rollout", operation=operation)
        return self.do(runs.start, job="job").id

    def view(self, run: str) -> RunView:
        """Return a run."""
        return self.do(runs.get, run=run)

    def counters(self, run: str, stage: int = 0) -> dict[str, int]:
        """Return the counters of a stage that are not zero."""
        counters = self.view(run).stages[stage].counters
        return {name: getattr(counters, name) for name in counters.__struct_fields__ if getattr(counters, name)}

    def target(self, run: str, device: str) -> Any:
        """Return one device's part in a run."""
        return next(t for t in self.do(runs.targets, run=run).items if t.device == device)

    # --- time and sending ---------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send what is queued and let devices read what was written to them."""
        self.wait(self.controller.dispatcher.pump())
        for name, kind, payload in self.wire.written[self._read :]:
            self.deliver(self.devices[name.split(":")[1]], kind, payload)
        self._read = len(self.wire.written)

    def deliver(self, device: Device, kind: DownlinkKind, payload: bytes) -> None:
        """Let a device take in what it was written."""
        if kind is DownlinkKind.COMMAND:
            signed = verify(payload, PayloadType.COMMAND, Command, ring_of(self.director.public))
            device.commands.append((signed.digest, signed.value))
        elif parse(payload).payload_type == PayloadType.ACK:
            ack = verify(payload, PayloadType.ACK, Ack, ring_of(self.time_key.public))
            device.acks.append(ack.value)
        else:
            reply = verify(payload, PayloadType.HELLO_REPLY, HelloReply, ring_of(self.time_key.public))
            device.replies.append(reply.value)

    def sleep(self, span_ms: int) -> None:
        """Let time pass, and everything that falls due in it happen in its order.

        Heartbeats with nothing else to do are left out: there are 17,000 of them in a day.
        """
        end = later(self.clock.time, span_ms)
        while self.clock.time < end:
            self.wait(wakeups.look(self.controller))
            self.pump()
            self.clock.time = min(end, max(later(self.clock.time, 1), self._next_due(end)))
            self._beat(later(self.clock.time, -BEAT_MS))
        self.wait(wakeups.look(self.controller))
        self.pump()

    def _next_due(self, end: Instant) -> Instant:
        """Return when something is due other than a heartbeat, *end* at the latest."""
        due = self.wait(
            self.store.read(lambda tx: (tx.catalog.next_start(), tx.runs.next_wake(), tx.commands.next_due()))
        )
        return min((at for at in due if at is not None), default=end)

    def _beat(self, at: Instant) -> None:
        self.wait(self.store.write(lambda tx: tx.log.beat(at), priority=Priority.HOUSEKEEPING))

    # --- devices ------------------------------------------------------------------------------------------------

    def enrol(self, *names: str, model: str = "k1", **labels: str) -> None:
        """Have devices of a model with these labels, not connected."""
        for name in names:
            device = Device(name=name_of(TENANT, device_id(name)), key=Ed25519Signing(Ed25519PrivateKey.generate()))
            self.devices[name] = device
            record = DeviceRecord(
                device=device_id(name),
                name=device.name,
                model=model,
                hardware_id=name,
                signing_key=device.key.public,
                sealing_key=bytes(32),
                labels=labels,
                certificate_serial="1",
                certificate_expires_at=START,
                enrolled_at=START,
            )
            self.wait(self.store.write(lambda tx, r=record: tx.devices.add(r), priority=Priority.OPERATOR))  # type: ignore[misc]

    def connect(self, *names: str, **hello: Any) -> None:
        """Let devices connect and say hello."""
        for name in names:
            device = self.devices[name]
            self.wire.sessions[device.name] = self.wire.sessions.get(device.name, 0) + 1
            assert self.hello(name, **hello) is Disposition.STORED

    def hello(self, name: str, *, work: WorkInHand | None = None, **changes: Any) -> Disposition:
        """Let a device say hello."""
        return self.receive([self.said_hello(name, work=work, **changes)])[0]

    def said_hello(self, name: str, *, work: WorkInHand | None = None, **changes: Any) -> Uplinked:
        """Return a device's next hello, not yet said."""
        device = self.devices[name]
        device.hello_seq += 1
        fields: dict[str, Any] = {
            "device": device.name,
            "nonce": f"{device.hello_seq:032x}",
            "incarnation": INCARNATION,
            "hello_seq": device.hello_seq,
            "connection": f"c{self.wire.session(device.name)}",
            "seq": max((command.seq for _, command in device.commands), default=0),
            "work": work,
            "agent": "test",
        }
        message = Hello(**(fields | changes))
        payload = seal(encode(message), PayloadType.HELLO, device.key)
        return Uplinked(name=device.name, kind=UplinkKind.HELLO, payload=payload)

    def said_gone(self, name: str, connection: str) -> Uplinked:
        """Return the will of a device's connection, not yet said."""
        payload = encode(Gone(connection=connection))
        return Uplinked(name=self.devices[name].name, kind=UplinkKind.GONE, payload=payload)

    def lose(self, *names: str) -> None:
        """Let connections break; their wills are delivered."""
        for name in names:
            device = self.devices[name]
            session = self.wire.sessions.pop(device.name)
            self.say(name, UplinkKind.GONE, encode(Gone(connection=f"c{session}")))

    def say(self, name: str, kind: UplinkKind, payload: bytes) -> Disposition:
        """Deliver one message of a device and return what became of it."""
        message = Uplinked(name=self.devices[name].name, kind=kind, payload=payload)
        return self.receive([message])[0]

    def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        """Deliver a batch."""
        dispositions: Sequence[Disposition] = self.wait(self.inbox.receive(batch))
        self.pump()
        return dispositions

    def last(self, name: str) -> tuple[Digest, Command]:
        """Return the newest command a device was sent."""
        return self.devices[name].commands[-1]

    def report(
        self,
        name: str,
        state: AttemptState,
        *,
        reason: Reason | None = None,
        left: Left | None = None,
        command: tuple[Digest, Command] | None = None,
        **changes: Any,
    ) -> Disposition:
        """Let a device report a state of the newest command, or of *command*."""
        payload = self.signed_report(name, state, reason=reason, left=left, command=command, **changes)
        return self.say(name, UplinkKind.REPORT, payload)

    def signed_report(
        self,
        name: str,
        state: AttemptState,
        *,
        reason: Reason | None = None,
        left: Left | None = None,
        command: tuple[Digest, Command] | None = None,
        **changes: Any,
    ) -> bytes:
        """Return a signed report, not yet said."""
        device = self.devices[name]
        digest, content = command or self.last_install(name)
        device.report_seq += 1
        fields: dict[str, Any] = {
            "device": device.name,
            "incarnation": INCARNATION,
            "report_seq": device.report_seq,
            "at": self.clock.time,
            "command": digest,
            "run": content.run,
            "attempt": content.attempt,
            "state": state,
            "mode": Mode.GO,
            "reason": reason or "",
            "left": left,
        }
        return seal(encode(StateReport(**(fields | changes))), PayloadType.REPORT, device.key)

    def last_install(self, name: str) -> tuple[Digest, Command]:
        """Return the newest command a device was sent that begins work: to install, or to watch what it has."""
        return next(c for c in reversed(self.devices[name].commands) if c[1].op in {"install", "watch"})

    def refuse(self, name: str, code: RejectCode, *, command: tuple[Digest, Command] | None = None) -> Disposition:
        """Let a device refuse the newest command."""
        return self.receive([self.said_refusal(name, code, command=command)])[0]

    def said_refusal(self, name: str, code: RejectCode, *, command: tuple[Digest, Command] | None = None) -> Uplinked:
        """Return a device's refusal of the newest command, not yet told."""
        device = self.devices[name]
        digest, _ = command or self.last(name)
        device.report_seq += 1
        message = RefusalReport(
            device=device.name,
            incarnation=INCARNATION,
            report_seq=device.report_seq,
            at=self.clock.time,
            command=digest,
            code=code,
        )
        return device.signed(message)

    def ail(
        self, name: str, mark: Mark, *, detail: str = "", command: tuple[Digest, Command] | None = None
    ) -> Disposition:
        """Let a device tell what became of the release of its newest install."""
        return self.receive([self.said_mark(name, mark, detail=detail, command=command)])[0]

    def said_mark(
        self, name: str, mark: Mark, *, detail: str = "", command: tuple[Digest, Command] | None = None
    ) -> Uplinked:
        """Return a device's next mark, not yet told."""
        device = self.devices[name]
        digest, content = command or self.last_install(name)
        device.report_seq += 1
        message = HealthReport(
            device=device.name,
            incarnation=INCARNATION,
            report_seq=device.report_seq,
            at=self.clock.time,
            command=digest,
            run=content.run,
            attempt=content.attempt,
            mark=mark,
            count=int(mark.is_bad),
            detail=detail,
        )
        return device.signed(message)

    def measure(
        self, name: str, *, command: tuple[Digest, Command] | None = None, **outputs: float | str
    ) -> Disposition:
        """Let a device tell what the apps that it watches say of themselves."""
        return self.receive([self.said_measure(name, command=command, **outputs)])[0]

    def said_measure(
        self, name: str, *, command: tuple[Digest, Command] | None = None, **outputs: float | str
    ) -> Uplinked:
        """Return a device's next numbers, of its newest command or of *command*, not yet told."""
        device = self.devices[name]
        digest, content = command or self.last_install(name)
        device.report_seq += 1
        message = MeasureReport(
            device=device.name,
            incarnation=INCARNATION,
            report_seq=device.report_seq,
            at=self.clock.time,
            command=digest,
            run=content.run,
            attempt=content.attempt,
            outputs=outputs,
        )
        return device.signed(message)

    def succeed(self, *names: str) -> None:
        """Let devices install what they were told to."""
        for name in names:
            _, command = self.last_install(name)
            release = command.releases[0]
            version = release.path.split("/")[1]
            installed = InstalledRelease(app=APP, version=version, sha256=release.sha256, counter=release.counter)
            self.report(name, AttemptState.ACCEPTED)
            self.report(name, AttemptState.SUCCEEDED, left=Left.NEW, installed=(installed,))

    def watch(self, *names: str) -> None:
        """Let devices watch what they have, as they were told to."""
        for name in names:
            assert self.last_install(name)[1].op == "watch"
            self.report(name, AttemptState.ACCEPTED)
            self.report(name, AttemptState.SUCCEEDED)

    def fail(self, *names: str, reason: Reason = Reason.VERIFY_FAILED) -> None:
        """Let devices fail and go back to what they had."""
        for name in names:
            self.report(name, AttemptState.INSTALLING)
            self.report(name, AttemptState.FAILED, reason=reason, left=Left.OLD)


def stage(name: str = "all", **fields: Any) -> Stage:
    """Return a stage with defaults that suit a handful of devices."""
    return Stage(name=StageName(name), **fields)
