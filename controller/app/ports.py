"""What the use cases need from outside. Each port has a real and a simulated implementation.

Database work is synchronous and passed to `Store.write` or `Store.read` as a function; in production it runs on the
store's own threads, in simulation inline, so that a use case is the same code in both.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from enum import IntEnum, StrEnum
from typing import Protocol, TypeVar

import msgspec

from controller.domain.gates.checks import Answer, Http, Prometheus
from controller.domain.parameters import Given, Need
from controller.domain.pipeline import Operation, Pipeline, Resolved
from protocol.ids import Digest, Name
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import Instant

S = TypeVar("S")
T = TypeVar("T")


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> Instant:
        """Return the wall clock's time."""

    async def sleep_until(self, at: Instant) -> None:
        """Return when `now` has reached *at*, or earlier when `wake` is called."""

    def wake(self) -> None:
        """End a `sleep_until` early; what was waited for may have changed."""

    async def pause_until(self, at: Instant) -> None:
        """Return when `now` has reached *at*; `wake` does not end it."""


class Chance(Protocol):
    """Where chance comes from."""

    def token(self, byte_count: int) -> str:
        """Return that many unguessable bytes, in hexadecimal."""


# --- messages in and out ----------------------------------------------------------------------------------------


class Uplinked(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a device as a transport hands it over; `name` comes from the certificate, never from the bytes."""

    name: Name
    kind: UplinkKind
    payload: bytes


class Disposition(StrEnum):
    """What became of a message; every one of them is acknowledged to the sender.

    `STALE` is a will of an older connection than the one that said hello last: it changed nothing.
    """

    STORED = "stored"
    STALE = "stale"
    MALFORMED = "malformed"
    UNTRUSTED = "untrusted"


class Inbox(Protocol):
    """Where a transport delivers messages, in batches; one call at a time."""

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        """Store a batch durably; return one disposition for each message, in order.

        Only after the return may a message be acknowledged. When this raises, nothing was stored and nothing may be
        acknowledged; the transport waits and offers the batch again.
        """

    async def may_connect(self, name: Name) -> bool:
        """Say whether a device is enrolled and not blocked."""

    async def disconnected(self, name: Name, session: int) -> None:
        """Take note that a device's session ended for whatever reason; `session` as `Transport.session` gave it."""

    async def lost_sight(self, partitions: Collection[int]) -> None:
        """Take note that the transport cannot tell any more which devices of these partitions are connected.

        All of them count as gone until they say hello again, and each that was online is asked to.
        """


class Transport(Protocol):
    """A way to devices: the built-in endpoint, an external broker, or the simulated network.

    Where connections end elsewhere, at a broker, a device has a session from its hello to its will.
    """

    @property
    def instance(self) -> int:
        """The number of this life of the transport; presence noted under another one is void."""

    @property
    def session_count(self) -> int:
        """The devices that have a session; costs the same for any number of them."""

    def session(self, name: Name) -> int:
        """Return the number of the device's live session, 0 when it has none; numbers are never reused in one life."""

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Hand bytes to the device's session now, without awaiting.

        Returns False, and keeps nothing, when there is no session or its window of unacknowledged messages is full. A
        transport that learns of sessions only by hello hands an `ACK` over also where it knows of none.
        """

    def close(self, name: Name, *, reason: str) -> None:
        """End the device's session, if it has one."""


# --- trust ------------------------------------------------------------------------------------------------------


class IssuedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A device's certificate and the chain that leads to the tenant's CA, in PEM."""

    certificate_pem: str
    chain_pem: str
    serial: str
    expires: Instant


class CertificateAuthority(Protocol):
    """The tenant's issuer of device certificates."""

    def issue(self, csr_pem: str, name: Name, *, at: Instant) -> IssuedCertificate:
        """Issue a client certificate for *name* over the key of a signing request; what the request asks is ignored.

        Raises:
            controller.app.errors.InvalidRequest: when it is no PEM request, its own signature is wrong, or its key
                is not P-256.
        """


# --- artifacts --------------------------------------------------------------------------------------------------


class Artifacts(Protocol):
    """Content-addressed bytes."""

    async def put(self, chunks: AsyncIterator[bytes], *, expected: Digest, length: int) -> None:
        """Store a stream whose SHA-256 and length are known; nothing half-written ever becomes visible.

        Raises:
            controller.app.errors.InvalidRequest: when the bytes are not those; then nothing is kept.
            controller.app.errors.StorageUnavailable: when the disk is full or broken.
        """

    def size(self, digest: Digest) -> int | None:
        """Return the length in bytes, or None where the artifact is not stored."""

    def read(self, digest: Digest, *, start: int, length: int) -> Iterator[bytes]:
        """Yield *length* bytes from *start* in chunks of at most 256 KiB.

        Raises:
            controller.app.errors.NotFound: when the artifact is not stored.
        """


# --- checks -----------------------------------------------------------------------------------------------------


class Asker(Protocol):
    """Where checks are asked."""

    async def ask(self, source: Http | Prometheus) -> Answer:
        """Return what is answered; within a bounded time, and where nothing is, that there is no data."""


# --- database ---------------------------------------------------------------------------------------------------


Resolve = Callable[[Pipeline, Operation, Given, Need], Resolved]
"""Puts what is given into a definition; raises `InvalidDefinition` with every fault. `controller.documents` does it."""


class Priority(IntEnum):
    """Who goes first when the single writer is busy."""

    OPERATOR = 0
    DISPATCH = 1
    INGEST = 2
    HOUSEKEEPING = 3


class Compute(Protocol):
    """Where work that only computes goes, so that it does not hold up the event loop."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns."""

    async def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Return what *work* returns for each of *items*, in their order; they may be shared among threads."""
