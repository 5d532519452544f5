"""What follows a commit, gathered while the transaction runs: nothing of it happens if the transaction fails."""

from dataclasses import dataclass, field

from controller.app.records import CommandRecord
from controller.domain.gates.checks import Source
from protocol.ids import Name
from protocol.messages import Ack, HelloReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A check of a run's stage to be asked, and the number under which its answer is awaited."""

    run_id: int
    stage: int
    check: str
    sequence: int
    source: Source


@dataclass(slots=True)
class Consequences:
    """Commands to send or never to send, the epochs below which a run's commands are void, and what is to be asked."""

    commands: list[CommandRecord] = field(default_factory=list)
    voided: list[int] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device is told after the commit; `run_id` is the run that a reply permits something of, else 0."""

    name: Name
    message: HelloReply | Ack
    run_id: int = 0
