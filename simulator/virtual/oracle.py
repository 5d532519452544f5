"""The oracle: it sees every commit, every publish, every answer and every step of a device, and asks all laws."""

from collections.abc import Callable, Sequence
from typing import Final

from agent.core.model import State
from controller.app.repositories import Transaction
from protocol.codec import decode
from protocol.envelope import parse
from protocol.ids import Name, digest_of
from protocol.messages import Ack, HelloReply, PayloadType, Tick
from protocol.outputs import Outputs
from protocol.topics import DownlinkKind
from simulator.virtual.laws import LAWS
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law, Measured, Named, Observer, Replied, Stepped
from simulator.virtual.listener import Listener
from simulator.virtual.picture import Commit, Picture
from simulator.virtual.watched import Changes
from simulator.virtual.witness import Witness
from simulator.virtual.world import World

Ask = Callable[..., Complaints]

_SIGHTS: Final = (
    "committed",
    "told",
    "restarted",
    "handed",
    "answered_device",
    "asked",
    "answered",
    "named",
    "replied",
    "stepped",
    "measured",
    "dropped",
    "installs",
    "ticked",
)


class Oracle:
    """Judges one world."""

    def __init__(self, world: World, picture: Picture, *, laws: Sequence[type[Law]] = LAWS) -> None:
        self.picture: Final = picture
        self._world = world
        self._ask_count = 0
        observers: list[Observer] = [Witness(world, picture), Listener(world, picture), *(law(picture) for law in laws)]
        self._observers: dict[str, list[tuple[Observer, Ask]]] = {
            sight: [
                (o, getattr(o, sight)) for o in observers if getattr(type(o), sight) is not getattr(Observer, sight)
            ]
            for sight in _SIGHTS
        }

    def _show(self, sight: str, *what: object, **how: bool) -> None:
        for observer, ask in self._observers[sight]:
            for complaint in ask(*what, **how):
                assert isinstance(observer, Law)
                self._world.violated(f"{type(observer).__name__} (invariant {observer.number})", complaint)

    # --- the controller -----------------------------------------------------------------------------------------

    def committed(self, changes: Changes) -> Commit:
        """Show a committed transaction."""
        commit = self.picture.take(changes)
        self._show("committed", commit)
        return commit

    def told(self, commit: Commit) -> None:
        """Show that the controller knows that a transaction is committed."""
        self._show("told", commit)

    def restarted(self, tx: Transaction) -> None:
        """Show the database that a new life of the controller finds."""
        self._show("restarted", tx)

    def handed(self, name: Name, kind: DownlinkKind, payload: bytes) -> None:
        """Show bytes that were handed to the transport."""
        envelope = parse(payload)
        if kind is DownlinkKind.COMMAND:
            command = self.picture.commands.get(digest_of(envelope.payload))
            self._show("handed", Handed(name, envelope.payload, command))
        elif envelope.payload_type == PayloadType.ACK:
            self._show("answered_device", name, decode(envelope.payload, Ack))
        else:
            self._show("answered_device", name, decode(envelope.payload, HelloReply))

    def ticked(self, name: Name, tick: Tick) -> None:
        """Show unsigned progress that the controller has taken in."""
        self._show("ticked", name, tick)

    # --- operators ----------------------------------------------------------------------------------------------

    def asked(self, act: str, subject: str, *, by: str, is_named: bool = False, is_override: bool = False) -> Asked:
        """Show that an operator asks for something."""
        self._ask_count += 1
        asked = Asked(self._ask_count, act, subject, by, is_named, is_override)
        self._show("asked", asked)
        return asked

    def answered(self, asked: Asked, *, is_done: bool) -> None:
        """Show that the operator was told that it is done, or that it was refused or died."""
        self._show("answered", asked, is_done=is_done)

    def named(self, named: Named) -> None:
        """Show what was said to a request that has a name."""
        self._show("named", named)

    def replied(self, replied: Replied) -> None:
        """Show how a check is answered."""
        self._show("replied", replied)

    # --- devices ------------------------------------------------------------------------------------------------

    def stepped(self, label: str, name: Name, before: State, after: State, *, active: str) -> None:
        """Show that a device folded an event and journalled what came of it."""
        if after.durable is not before.durable:
            self._show("stepped", Stepped(label, name, before, after, active))

    def measured(self, label: str, run: str, attempt: int, outputs: Outputs) -> None:
        """Show what a device read from its apps."""
        self._show("measured", Measured(label, run, attempt, outputs))

    def dropped(self, name: Name, incarnation: str, report_seqs: Sequence[int]) -> None:
        """Show that a device has dropped reports from its journal."""
        self._show("dropped", name, incarnation, report_seqs)

    def installs(self, label: str, name: Name, state: State, *, active: str) -> None:
        """Show that a device begins its irreversible step."""
        self._show("installs", Stepped(label, name, state, state, active))
