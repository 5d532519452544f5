"""The controller's ports in one of its lives: a clock that may be wrong, chance from the seed, a database that kills.

The rules this module keeps:

1. Every await is a place where others may go on: each call waits for a drawn time before it does its work at once.
   In worlds that draw no such time nothing is interleaved.
2. Commits are answered in the order in which they were made, as one writing thread answers them.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final, TypeVar

from controller.app.errors import NotFound, StorageUnavailable
from controller.app.ports import IssuedCertificate, Priority
from controller.app.repositories import Store, Transaction
from protocol.ids import Digest, Name
from protocol.units import Instant, later
from simulator.virtual.picture import Commit
from simulator.virtual.scheduler import Act, suspend
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.watched import Changes, Watched
from simulator.virtual.world import World

S = TypeVar("S")
T = TypeVar("T")

SLEEP_MS_MAX: Final = 60_000


class Killed(BaseException):
    """The process was killed here."""


class WallClock:
    """The wall clock of the controller's machine; it survives the controller, and somebody may set it."""

    def __init__(self, world: World) -> None:
        self._scheduler = world.scheduler
        self._highest = 0
        self.offset_ms = 0

    def now(self) -> Instant:
        """Return what it shows."""
        now = self._scheduler.now + self.offset_ms
        self._highest = max(self._highest, now)
        return Instant(now)

    def catch_up(self) -> bool:
        """Show at least what was shown before; say whether that was a jump.

        Devices believe no time that lies before one they have heard, so that a controller whose clock was put back
        would have to wait until it has caught up; a healed world does not wait.
        """
        before = self.offset_ms
        self.offset_ms = max(before, self._highest - self._scheduler.now)
        return self.offset_ms != before


class VirtualClock:
    """Implements `controller.app.ports.Clock` for one life."""

    def __init__(self, world: World, wall: WallClock) -> None:
        self._scheduler = world.scheduler
        self._wall = wall
        self._go_on: Act | None = None
        self._is_woken = False

    def now(self) -> Instant:
        """Return the wall clock's time."""
        return self._wall.now()

    async def sleep_until(self, at: Instant) -> None:
        """Wait; a sleep of a minute ends by itself, as in production, so that a clock that jumps is noticed."""
        if not self._is_woken:
            span_ms = min(max(0, at - self.now()), SLEEP_MS_MAX)
            await suspend(lambda go_on: self._sleep(span_ms, go_on))
        self._is_woken = False

    def _sleep(self, span_ms: int, go_on: Act) -> None:
        self._go_on = go_on
        self._scheduler.after(span_ms, lambda: self._end(go_on))

    def _end(self, go_on: Act) -> None:
        if self._go_on is go_on:
            self._go_on = None
            go_on()

    def wake(self) -> None:
        """End the sleep early, or the next one."""
        self._is_woken = True
        go_on = self._go_on
        if go_on is not None:
            self._scheduler.after(0, lambda: self._end(go_on))

    async def pause_until(self, at: Instant) -> None:
        """Wait, whatever happens."""
        await suspend(lambda go_on: self._scheduler.after(max(0, at - self.now()), go_on))


class SeededChance:
    """Implements `controller.app.ports.Chance`."""

    def __init__(self, world: World) -> None:
        self._chance = world.chance("controller/tokens")

    def token(self, byte_count: int) -> str:
        """Return bytes drawn from the seed, in hexadecimal."""
        return self._chance.randbytes(byte_count).hex()


class SlowCompute:
    """Implements `controller.app.ports.Compute`: the work is done, a drawn time later."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance("controller/compute")
        self._longest_ms = world.draws.controller.compute_ms

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns."""
        if self._longest_ms:
            span_ms = int(self._chance.random() * self._longest_ms)
            await suspend(lambda go_on: self._world.scheduler.after(span_ms, go_on))
        return work()

    async def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Return what *work* returns for each of *items*."""
        return await self.run(lambda: [work(item) for item in items])


class MortalStore:
    """The database as one life of the controller sees it: slow, full at times, and a place to be killed at."""

    def __init__(
        self, inner: Store, world: World, *, committed: Callable[[Changes], Commit], told: Callable[[Commit], None]
    ) -> None:
        """Take whom to show what is committed, and then that the controller knows of it."""
        self._inner = inner
        self._world = world
        self._committed = committed
        self._told = told
        self._chance = world.chance("controller/store")
        self._step_ms = world.draws.controller.step_ms
        self._answered_at = 0
        self.has_unmarked = False

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads."""
        if self._step_ms:
            await suspend(self._wait)
        return await self._inner.read(work)

    async def write(self, work: Callable[[Transaction], T], *, priority: Priority) -> T:
        """Run *work* in one transaction, and perhaps die of it."""
        if self._step_ms:
            await suspend(self._wait)
        changes = Changes()
        result = await self._inner.write(lambda tx: self._try(work, Watched(tx, changes), priority), priority=priority)
        commit = self._committed(changes)
        self.has_unmarked = self.has_unmarked and not changes.is_mark
        self._die_after()
        if self._step_ms:
            await suspend(self._answer)
        self._told(commit)
        return result

    def _try(self, work: Callable[[Transaction], T], tx: Transaction, priority: Priority) -> T:
        """Do the work, and then perhaps fail or die within the transaction: nothing of it may be left."""
        result = work(tx)
        self._fail_before(priority)
        return result

    def _wait(self, go_on: Act) -> None:
        self._world.scheduler.after(int(self._chance.random() * self._step_ms), go_on)

    def _answer(self, go_on: Act) -> None:
        scheduler = self._world.scheduler
        span_ms = int(self._chance.random() * self._step_ms)
        self._answered_at = max(self._answered_at, scheduler.now + span_ms)
        scheduler.at(self._answered_at, go_on)

    def _fail_before(self, priority: Priority) -> None:
        world, draws = self._world, self._world.draws.controller
        if world.strikes(draws.disk_full, self._chance):
            world.sometimes(Sometimes.CONTROLLER_DISK_FULL)
            world.unwritable_at.append(world.now)
            world.say("controller", "the disk is full")
            raise StorageUnavailable("the disk is full")
        if world.strikes(draws.kill_at_commit, self._chance):
            is_mark = self.has_unmarked and priority is Priority.DISPATCH
            world.sometimes(Sometimes.KILLED_BEFORE_MARK if is_mark else Sometimes.KILLED_BEFORE_COMMIT)
            raise Killed

    def _die_after(self) -> None:
        if self._world.strikes(self._world.draws.controller.kill_at_commit, self._chance):
            self._world.sometimes(Sometimes.KILLED_AFTER_COMMIT)
            raise Killed


class NoArtifacts:
    """Implements `controller.app.ports.Artifacts`; bytes play no part in virtual time."""

    async def put(self, chunks: AsyncIterator[bytes], *, expected: Digest, length: int) -> None:
        """Store nothing."""
        del chunks, expected, length

    def size(self, digest: Digest) -> int | None:
        """Return that nothing is stored."""
        del digest
        return None

    def read(self, digest: Digest, *, start: int, length: int) -> Iterator[bytes]:
        """Find nothing."""
        del start, length
        raise NotFound(f"artifact {digest} is not stored")


class Stamp:
    """Implements `controller.app.ports.CertificateAuthority`; nobody checks certificates in virtual time."""

    def issue(self, csr_pem: str, name: Name, *, at: Instant) -> IssuedCertificate:
        """Return a certificate in name only."""
        del csr_pem
        return IssuedCertificate(certificate_pem=f"{name}", chain_pem="", serial="1", expires=later(at, 1))
