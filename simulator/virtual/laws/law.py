"""What an observer of a world is shown. A law yields what is wrong, in words; the first complaint ends the seed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from agent.core.model import State
from controller.app.records import CommandRecord
from protocol.ids import Name
from protocol.messages import Ack, HelloReply
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


class Observer:
    """Somebody outside who is shown everything; a new object for each world."""

    def committed(self, commit: Commit) -> Complaints:
        """Judge a committed transaction; the picture shows it already."""
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

    def asked(self, act: str, run: str) -> Complaints:
        """Take note that an operator is about to ask for *act*."""
        del act, run
        return ()

    def answered(self, act: str, run: str) -> Complaints:
        """Take note that an operator was told that *act* is done."""
        del act, run
        return ()

    def stepped(self, stepped: Stepped) -> Complaints:
        """Judge what a device made of an event."""
        del stepped
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
