"""What follows a commit, gathered while the transaction runs: nothing of it happens if the transaction fails."""

from dataclasses import dataclass, field

from controller.app.records import CommandRecord


@dataclass(slots=True)
class Consequences:
    """Commands to send, commands never to send, and the epochs below which a run's commands are void."""

    commands: list[CommandRecord] = field(default_factory=list)
    voided: list[int] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
