"""A light device: a real connection and real keys, but no agent behind them."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import mqtt5
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.codec import decode, encode
from protocol.envelope import parse, seal
from protocol.ids import Digest, Name, digest_of
from protocol.keys import Ed25519Signing
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Command, Gone, Hello, PayloadType, Progress, StateReport, Tick
from protocol.reasons import Reason
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import Instant
from simulator.live.link import Link, Topics
from simulator.live.radio import client_context

INCARNATION: Final = "b" * 16
TOTAL: Final = 1_000_000
_PING: Final = mqtt5.PingReqPacket().write()


class Papers(msgspec.Struct, frozen=True):
    """One device: its name, its Ed25519 key, raw, and certificate, chain and TLS key in PEM."""

    name: Name
    key: bytes
    pem: bytes


@dataclass(slots=True)
class Ears:
    """What all devices of a process heard together; `arrivals` of commands in nanoseconds of CLOCK_MONOTONIC."""

    up_count: int = 0
    answer_count: int = 0
    settled_count: int = 0
    settled_at: float = 0.0
    arrivals: list[int] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)


class LightDevice:
    """One connection and what came over it; implements `simulator.live.link.Owner`."""

    __slots__ = ("_ears", "_report_seq", "commands", "link", "papers", "prepared", "signer")

    def __init__(self, papers: Papers, ears: Ears) -> None:
        """Take who it is, and whom to tell."""
        self.papers = papers
        self.signer = Ed25519Signing(Ed25519PrivateKey.from_private_bytes(papers.key))
        self.link: Link | None = None
        self.commands: list[bytes] = []
        self.prepared: list[tuple[UplinkKind, bytes, int | None]] = []
        self._ears = ears
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
        self._ears.up_count += 1

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Note a command; answers are only counted."""
        if kind is DownlinkKind.COMMAND:
            self.commands.append(payload)
            self._ears.arrivals.append(time.monotonic_ns())
        else:
            self._ears.answer_count += 1

    def settled(self, token: int) -> None:
        """Note an acknowledgement."""
        self._ears.settled_count += 1
        self._ears.settled_at = time.perf_counter()

    def lost(self, link: Link, why: str) -> None:
        """Count a loss: no benchmark means to lose a connection."""
        self._ears.losses[why] += 1

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


class SilentDevice(LightDevice):
    """One that connects, subscribes and says nothing."""

    __slots__ = ()

    def up(self, link: Link) -> None:
        """Say no hello."""
        self._ears.up_count += 1
