"""Invariant 16: whoever is there is known to be there, or is asked before long."""

from typing import Final

from controller.app.repositories import Transaction
from protocol.ids import Name
from protocol.messages import Ack, HelloReply
from protocol.units import MINUTE
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit, Picture

ASKED_WITHIN_MS: Final = 2 * MINUTE
"""How long asking may take: the disk may be full, and the lane, too."""


class WhoIsThereIsKnown(Law):
    """Behind a broker: a device whose connection stands since its hello is taken for gone only to be asked for another.

    A device that is blocked is forgotten although it is connected; such devices are not judged.
    """

    number = 16

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._said: dict[int, str] = {}
        """By device: the connection of its newest hello."""
        self._online: set[int] = set()
        self._unasked: dict[int, int] = {}
        """Devices that count as gone and are there, and since when."""
        self._once_blocked: set[int] = set()

    def committed(self, commit: Commit) -> Complaints:
        """Judge who was marked as gone, and look for those who were not asked."""
        self._once_blocked |= self.picture.blocked
        for hello in commit.hellos:
            self._said[hello.id] = hello.connection
            self._online.add(hello.id)
            self._unasked.pop(hello.id, None)
        for device_id in commit.gone:
            if self._is_there(device_id):
                yield f"{self.picture.devices[device_id].name} was marked as gone, and its connection stands"
        for device_id in commit.unseen:
            self._lose(device_id)
        self._online -= {*commit.gone, *commit.unseen}
        yield from self._overdue()

    def restarted(self, tx: Transaction) -> Complaints:
        """Expect that a new life asks whoever counted as online; whom the old one left unasked is not judged."""
        del tx
        self._unasked.clear()
        for device_id in self._online:
            self._lose(device_id)
        return ()

    def answered_device(self, name: Name, answer: Ack | HelloReply) -> Complaints:
        """Take note that a device is asked for a hello."""
        if isinstance(answer, Ack) and answer.hello_within_ms:
            self._unasked.pop(self.picture.names[name].id, None)
        return ()

    def _lose(self, device_id: int) -> None:
        if self._is_there(device_id):
            self._unasked.setdefault(device_id, self.picture.true_now())

    def _is_there(self, device_id: int) -> bool:
        name = self.picture.devices[device_id].name
        connection = self.picture.connection(name)
        is_judged = connection is not None and device_id not in self._once_blocked
        return is_judged and connection == self._said.get(device_id)

    def _overdue(self) -> Complaints:
        now = self.picture.true_now()
        for device_id, since in list(self._unasked.items()):
            name = self.picture.devices[device_id].name
            if not self._is_there(device_id):
                del self._unasked[device_id]
            elif not self.picture.is_lane_up(name):
                self._unasked[device_id] = now
            elif now - since > ASKED_WITHIN_MS:
                yield f"{name} has been there for {now - since} ms, counts as gone, and is not asked for a hello"
