"""What follows a commit, gathered while the transaction runs: nothing of it happens if the transaction fails."""

from dataclasses import dataclass, field

from controller.app.records import CommandRecord
from protocol.ids import Name
from protocol.messages import Ack, HelloReply


@dataclass(slots=True)
class Consequences:
    """Commands to send, commands never to send, and the epochs below which a run's commands are void."""

    commands: list[CommandRecord] = field(default_factory=list)
    voided: list[int] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device is told after the commit; `run_id` is the run that a reply permits something of, else 0."""

    name: Name
    message: HelloReply | Ack
    run_id: int = 0
