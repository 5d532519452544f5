"""A crowd of light devices in one process: real connections and real keys, but no agent behind them.

They say hello, acknowledge what comes, note when it came, and report what they are told to report. Times are those of
CLOCK_MONOTONIC in nanoseconds, which all processes of a machine share.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mqtt5
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.edge.acceptor import shrink_tls_buffers
from protocol.codec import decode, encode
from protocol.envelope import parse, seal
from protocol.ids import Digest, Name, digest_of
from protocol.keys import Ed25519Signing
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Command, Gone, Hello, PayloadType, Progress, StateReport, Tick
from protocol.reasons import Reason
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import Instant
from simulator.live.link import KEEPALIVE_SECONDS, Link, Topics
from simulator.live.radio import client_context
from tests.benchmarks.control import Order, obey

DIALS_MAX: Final = 8
CONNECT_SECONDS: Final = 600.0
WAIT_SECONDS: Final = 50.0
INCARNATION: Final = "b" * 16
TURN: Final = 500
"""Messages that are published before the loop may read again."""
TOTAL: Final = 1_000_000
PING_SECONDS: Final = KEEPALIVE_SECONDS * 2 / 3
_PING: Final = mqtt5.PingReqPacket().write()
_POLL_SECONDS: Final = 0.02


class Papers(msgspec.Struct, frozen=True):
    """One device: its name, its Ed25519 key, raw, and certificate, chain and TLS key in PEM."""

    name: Name
    key: bytes
    pem: bytes


# --- orders -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connect(Order[None]):
    """Have *count* devices connected; where *is_answered*, until their hellos are answered."""

    port: int
    count: int
    is_answered: bool


@dataclass(frozen=True)
class KeepAlive(Order[None]):
    """From now on ping as a fleet does that connected long ago: each device in its turn, evenly spread."""


@dataclass(frozen=True)
class Watch(Order[None]):
    """Forget what commands have come, and note those that come from now on."""


@dataclass(frozen=True)
class Arrivals(Order[list[int]]):
    """Wait until *count* commands have come since `Watch`; return when each did, in nanoseconds."""

    count: int
    seconds: float = WAIT_SECONDS


@dataclass(frozen=True)
class Quiet(Order[int]):
    """Wait until no command has come for *seconds*; return how many have come since `Watch`."""

    seconds: float


@dataclass(frozen=True)
class Sample(Order[bytes]):
    """Return the newest command that one of the devices got."""


@dataclass(frozen=True)
class PrepareReports(Order[None]):
    """Have each device with a command sign the report that its newest installation reached *state*."""

    state: AttemptState


@dataclass(frozen=True)
class PrepareTicks(Order[None]):
    """Have each device with a command make *count* ticks; the last goes at QoS 1, so that its arrival is known."""

    count: int


@dataclass(frozen=True)
class Sent:
    """How many messages were sent, and how long it took until the last was acknowledged, in seconds."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Send(Order[Sent]):
    """Send what was prepared, and wait until all of QoS 1 is acknowledged."""


# --- devices ----------------------------------------------------------------------------------------------------


class LightDevice:
    """One connection and what came over it; implements `simulator.live.link.Owner`."""

    __slots__ = ("_crowd", "_report_seq", "commands", "link", "papers", "prepared", "signer")

    def __init__(self, papers: Papers, crowd: "Crowd") -> None:
        """Take who it is, and whom to tell."""
        self.papers = papers
        self.signer = Ed25519Signing(Ed25519PrivateKey.from_private_bytes(papers.key))
        self.link: Link | None = None
        self.commands: list[bytes] = []
        self.prepared: list[tuple[UplinkKind, bytes, int | None]] = []
        self._crowd = crowd
        self._report_seq = 0

    async def dial(self, port: int, ca: str) -> None:
        """Connect."""
        nonce = self.papers.key[:16].hex()
        topics, will = Topics.of(self.papers.name), encode(Gone(connection=nonce))
        _, self.link = await asyncio.get_running_loop().create_connection(
            lambda: Link(self, name=self.papers.name, topics=topics, will=will, nonce=nonce),
            "127.0.0.1",
            port,
            ssl=client_context(ca, self.papers.pem),
            server_hostname="localhost",
        )

    def up(self, link: Link) -> None:
        """Say hello."""
        hello = Hello(
            device=self.papers.name,
            nonce=link.nonce,
            incarnation=INCARNATION,
            hello_seq=1,
            connection=link.nonce,
            agent="benchmark",
        )
        link.publish(UplinkKind.HELLO, seal(encode(hello), PayloadType.HELLO, self.signer), token=0)
        self._crowd.up_count += 1

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Note a command; answers are only counted."""
        if kind is DownlinkKind.COMMAND:
            self.commands.append(payload)
            self._crowd.arrivals.append(time.monotonic_ns())
        else:
            self._crowd.answer_count += 1

    def settled(self, token: int) -> None:
        """Note an acknowledgement."""
        self._crowd.settled_count += 1
        self._crowd.settled_at = time.perf_counter()

    def lost(self, link: Link, why: str) -> None:
        """Count a loss: no benchmark means to lose a connection."""
        self._crowd.losses[why] += 1

    def installation(self) -> tuple[Digest, Command]:
        """Return the newest installation it was told, with its digest."""
        for raw in reversed(self.commands):
            payload = parse(raw).payload
            command = decode(payload, Command)
            if command.op == "install":
                return digest_of(payload), command
        raise LookupError(f"{self.papers.name} was told to install nothing")

    def prepare_report(self, state: AttemptState) -> None:
        """Sign a report, to be sent later."""
        digest, command = self.installation()
        self._report_seq += 1
        report = StateReport(
            device=self.papers.name,
            incarnation=INCARNATION,
            report_seq=self._report_seq,
            at=Instant(time.time_ns() // 1_000_000),
            command=digest,
            run=command.run,
            attempt=command.attempt,
            state=state,
            reason=Reason.CANCELLED if state is AttemptState.CANCELLED else "",
            left=Left.OLD if state.is_terminal else None,
        )
        raw = seal(encode(report), PayloadType.REPORT, self.signer)
        self.prepared.append((UplinkKind.REPORT, raw, self._report_seq))

    def prepare_ticks(self, count: int) -> None:
        """Make ticks, to be sent later."""
        _, command = self.installation()
        state = AttemptState.DOWNLOADING
        for number in range(1, count + 1):
            step = Progress(run=command.run, attempt=command.attempt, state=state, done=number, total=TOTAL)
            self.prepared.append((UplinkKind.TICK, encode(Tick(progress=(step,))), number if number == count else None))

    def ping(self) -> None:
        """Say that it lives."""
        assert self.link is not None, "connected first"
        self.link._write(_PING)

    def send(self, index: int) -> bool:
        """Send what was prepared as number *index*; return whether it will be acknowledged."""
        assert self.link is not None, "connected first"
        kind, payload, token = self.prepared[index]
        self.link.publish(kind, payload, token=token)
        return token is not None


class Crowd:
    """All devices of the process."""

    def __init__(self, papers: Sequence[Papers], *, ca: str) -> None:
        """Take who they are, and the CA that the server's certificate chains to."""
        self._waiting = [LightDevice(each, self) for each in reversed(papers)]
        self._ca = ca
        self.devices: list[LightDevice] = []
        self.up_count = 0
        self.answer_count = 0
        self.settled_count = 0
        self.settled_at = 0.0
        self._watched_at = 0
        self.arrivals: list[int] = []
        self.losses: Counter[str] = Counter()

    async def carry_out(self, order: Order[Any]) -> Any:
        """Carry out one order, and return its answer."""
        match order:
            case Connect():
                return await self._connect(order)
            case KeepAlive():
                return self._keep_alive()
            case Watch():
                return self._watch()
            case Arrivals(count, seconds):
                return await self._arrived(count, seconds)
            case Quiet(seconds):
                return await self._quiet(seconds)
            case Sample():
                return self._sample()
            case PrepareReports(state):
                return self._prepare(lambda device: device.prepare_report(state))
            case PrepareTicks(count):
                return self._prepare(lambda device: device.prepare_ticks(count))
            case Send():
                return await self._send()
        raise TypeError(f"no such order: {order}")

    async def _connect(self, order: Connect) -> None:
        room = asyncio.Semaphore(DIALS_MAX)

        async def dial(device: LightDevice) -> None:
            async with room:
                await device.dial(order.port, self._ca)

        fresh = [self._waiting.pop() for _ in range(order.count - len(self.devices))]
        self.devices += fresh
        async with asyncio.TaskGroup() as tasks:
            for device in fresh:
                tasks.create_task(dial(device))
        await self._until(lambda: self.up_count >= order.count, seconds=CONNECT_SECONDS)
        if order.is_answered:
            await self._until(lambda: self.answer_count >= order.count, seconds=CONNECT_SECONDS)
        gc.collect()
        gc.freeze()

    def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()

        def ping(number: int) -> None:
            self.devices[number % len(self.devices)].ping()
            loop.call_later(PING_SECONDS / len(self.devices), ping, number + 1)

        ping(0)

    def _watch(self) -> None:
        self.arrivals.clear()
        self._watched_at = time.monotonic_ns()
        for device in self.devices:
            del device.commands[:-2]  # a hold may stand behind the installation that is reported on

    async def _arrived(self, count: int, seconds: float) -> list[int]:
        await self._until(lambda: len(self.arrivals) >= count, seconds=seconds)
        return list(self.arrivals)

    async def _quiet(self, seconds: float) -> int:
        def is_quiet() -> bool:
            last = self.arrivals[-1] if self.arrivals else self._watched_at
            return time.monotonic_ns() - last > seconds * 1e9

        await self._until(is_quiet)
        return len(self.arrivals)

    def _sample(self) -> bytes:
        found = next((device.commands[-1] for device in self.devices if device.commands), None)
        if found is None:
            raise LookupError("no device has got a command")
        return found

    def _prepare(self, prepare: Callable[[LightDevice], None]) -> None:
        for device in self.devices:
            device.prepared.clear()
            if device.commands:
                prepare(device)

    async def _send(self) -> Sent:
        senders = [device for device in self.devices if device.prepared]
        count = awaited = 0
        self.settled_count = 0
        begun = time.perf_counter()
        for index in range(len(senders[0].prepared)):
            for device in senders:
                awaited += device.send(index)
                count += 1
                if count % TURN == 0:
                    await asyncio.sleep(0)
        await self._until(lambda: self.settled_count >= awaited)
        return Sent(count, self.settled_at - begun)

    async def _until(self, is_done: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not is_done():
                if self.losses:
                    raise ConnectionError(f"connections are lost: {dict(self.losses)}")
                await asyncio.sleep(_POLL_SECONDS)


def main(socket: str, papers: str, ca: str) -> None:
    """Run the devices in the file *papers* until the benchmark ends."""
    shrink_tls_buffers()
    loaded = msgspec.msgpack.decode(Path(papers).read_bytes(), type=list[Papers])
    crowd = Crowd(loaded, ca=Path(ca).read_text())
    asyncio.run(obey(socket, crowd.carry_out))
