"""The controller as the use cases see it: its ports, its keys, and what it keeps in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from controller.app.consequences import Consequences
from controller.app.dispatch import Dispatcher
from controller.app.ports import Artifacts, CertificateAuthority, Chance, Clock, Compute, Priority, Resolve, Transport
from controller.app.progress import ProgressBoard
from controller.app.questions import Questions
from controller.app.repositories import Store, Transaction
from controller.complaints import Complaints
from controller.observe import Meters
from protocol.envelope import KeyRing, SigningKey
from protocol.ids import TenantId
from protocol.keys import ring_of
from protocol.messages import RootVersions
from protocol.units import SECOND

T = TypeVar("T")


Work = Callable[[Transaction, Consequences], T]
"""A unit of work: it reads and writes through the transaction, and notes what is to follow the commit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Controller:
    """Everything a use case may need; made by `controller.bootstrap`, or by the simulation."""

    tenant: TenantId
    store: Store
    clock: Clock
    chance: Chance
    compute: Compute
    transport: Transport
    artifacts: Artifacts
    authority: CertificateAuthority
    time_key: SigningKey
    fleet_root: bytes
    release_root: bytes
    roots: RootVersions
    base_url: str
    dispatcher: Dispatcher
    progress: ProgressBoard
    meters: Meters
    resolve: Resolve
    hook_key: bytes
    """What the secrets of hooks are derived from; it is kept apart from the database."""
    complaints: Complaints = field(default_factory=Complaints)
    """What devices do wrong is logged through this: one with a key must not be able to fill the disk."""

    questions: Questions = field(default_factory=Questions)
    """What commits leave to be asked, until somebody asks it."""

    keys: Callable[[bytes], KeyRing] = ring_of
    """Returns the ring that a device's messages are checked with, from its stored public key."""

    release_batch_max: int = 256
    """The most devices that one transaction releases: their commands leave while the next one goes on, and neither
    reports nor a pause wait until all are made."""

    def complain(self, event: str, **fields: object) -> None:
        """Log what a device did wrong, at a bounded rate."""
        self.complaints.say(self.clock.now() / SECOND, event, **fields)

    async def write(self, work: Work[T], *, priority: Priority = Priority.OPERATOR) -> T:
        """Commit *work*, then let its consequences follow: fences first, then commands to the dispatcher."""
        result, after = await self.commit(work, priority=priority)
        self.dispatcher.queue(after)
        self.dispatcher.kick()
        self.clock.wake()
        return result

    async def commit(self, work: Work[T], *, priority: Priority) -> tuple[T, Consequences]:
        """Commit *work* and raise its fences; return what else is to follow.

        Whatever closes a command, it leaves the sender's queue here: a use case cannot forget to say so.
        """
        after = Consequences()

        def noted(tx: Transaction) -> T:
            result = work(tx, after)
            after.voided.extend(tx.commands.closed)
            return result

        result = await self.store.write(noted, priority=priority)
        self.dispatcher.fence(after)
        self.questions.put(after.questions)
        return result, after

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads, on one consistent snapshot."""
        return await self.store.read(work)
