"""What an observer of a world is shown. A law yields what is wrong, in words; the first complaint ends the seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from agent.core.model import State
from controller.app.access import RequestKey
from controller.app.records import CommandRecord
from controller.app.repositories import Transaction
from controller.domain.gates.checks import Answer
from protocol.ids import Name
from protocol.messages import Ack, HelloReply, Tick
from protocol.outputs import Outputs
from simulator.virtual.picture import Commit, Picture

Complaints = Iterable[str]


@dataclass(frozen=True, slots=True)
class Stepped:
    """A device folded an event: `label` tells clones apart, `active` is what is really installed."""

    label: str
    name: Name
    before: State
    after: State
    active: str


@dataclass(frozen=True, slots=True)
class Handed:
    """Bytes were handed to the transport; `command` is the committed row of the payload, None where there is none."""

    name: Name
    payload: bytes
    command: CommandRecord | None


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator asked for an act on a run or a device; `number` tells asks apart, and rises; `by` is the person.

    `is_named` says that the request has an Idempotency-Key, `is_override` that a run is to go on over what its own
    rules hold.
    """

    number: int
    act: str
    subject: str
    by: str
    is_named: bool = False
    is_override: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A request with an Idempotency-Key was answered, as plain data, or refused with the slug of an error."""

    by: str
    request: RequestKey
    answer: object = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Replied:
    """A check of a stage is answered: the question of that `sequence`, or, without one, by who tells by itself.

    With `is_decision` that is a person.
    """

    run_id: int
    stage: int
    check: str
    answer: Answer
    sequence: int | None = None
    is_decision: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A device read these outputs from the apps that it watches for an attempt; `label` tells clones apart."""

    label: str
    run: str
    attempt: int
    outputs: Outputs


class Observer:
    """Somebody outside who is shown everything; a new object for each world."""

    def committed(self, commit: Commit) -> Complaints:
        """Judge a committed transaction; the picture shows it already."""
        del commit
        return ()

    def restarted(self, tx: Transaction) -> Complaints:
        """Judge the database that a new life of the controller finds."""
        del tx
        return ()

    def told(self, commit: Commit) -> Complaints:
        """Judge, or take note, that the controller knows that a transaction is committed."""
        del commit
        return ()

    def handed(self, handed: Handed) -> Complaints:
        """Judge a command that was just handed to the transport."""
        del handed
        return ()

    def answered_device(self, name: Name, answer: Ack | HelloReply) -> Complaints:
        """Judge an acknowledgement or a hello reply that was just handed to the transport."""
        del name, answer
        return ()

    def asked(self, asked: Asked) -> Complaints:
        """Take note that an operator asks for something."""
        del asked
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that the operator was told that it is done, or else that nothing will come of it any more."""
        del asked, is_done
        return ()

    def named(self, named: Named) -> Complaints:
        """Judge what was said to a request that has a name."""
        del named
        return ()

    def replied(self, replied: Replied) -> Complaints:
        """Take note of an answer that is on its way to the controller."""
        del replied
        return ()

    def stepped(self, stepped: Stepped) -> Complaints:
        """Judge what a device made of an event."""
        del stepped
        return ()

    def measured(self, measured: Measured) -> Complaints:
        """Take note of what a device read from its apps; it may come to tell it in its next step."""
        del measured
        return ()

    def dropped(self, name: Name, incarnation: str, report_seqs: Sequence[int]) -> Complaints:
        """Judge a device that has dropped reports from its journal."""
        del name, incarnation, report_seqs
        return ()

    def ticked(self, name: Name, tick: Tick) -> Complaints:
        """Take note of unsigned progress that the controller has taken in."""
        del name, tick
        return ()

    def installs(self, stepped: Stepped) -> Complaints:
        """Judge a device that begins its irreversible step now."""
        del stepped
        return ()


class Law(Observer):
    """One invariant, by the number that the specification gives it."""

    number: ClassVar[int]

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
