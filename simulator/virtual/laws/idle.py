"""Invariant 4, the other half: an attempt whose work a device has no more is not waited for until its lease ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.app.records import DeviceRecord, TargetRecord
from protocol.units import SECOND
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.laws.run_time import RunTimes
from simulator.virtual.picture import Commit, Picture

PATIENCE_MS: Final = 60 * SECOND
"""How long a device without work is given to tell how its attempt ended."""
TOLERANCE_MS: Final = 1 * SECOND


@dataclass(frozen=True, slots=True)
class Told:
    """What one hello said: the attempt in hand, with its run, if there is one, and the newest command noted."""

    work: tuple[str, int] | None
    seq: int


class Hellos:
    """What devices have said in their hellos, by what they journalled; clones of one identity may say two things."""

    def __init__(self, picture: Picture) -> None:
        """Begin with nothing heard."""
        self._picture = picture
        self._told: dict[tuple[str, str, int], set[Told]] = {}

    def stepped(self, stepped: Stepped) -> None:
        """Take note of a hello that was said in this step, at its beginning or at its end."""
        before, after = stepped.before.durable, stepped.after.durable
        if after.hello_seq == before.hello_seq:
            return
        key = (stepped.name, after.incarnation, after.hello_seq)
        for durable in (before, after):
            work = None if durable.work is None else (durable.work.run, durable.work.attempt)
            self._told.setdefault(key, set()).add(Told(work, durable.seq))

    def idle(self, device: DeviceRecord, row: TargetRecord) -> set[bool | None]:
        """Return for each reading of a stored hello whether it says that the attempt of *row* is in hand no more.

        None is a hello from before the device took note of the command, which says nothing.
        """
        command = self._picture.commands.get(row.target.command) if row.target.command else None
        if command is None or row.target.attempt_state in {None, "sent"}:
            return {None}
        wanted = (self._picture.runs[row.run_id].uid, row.target.attempt)
        told = self._told.get((device.name, device.incarnation, device.hello_seq), set())
        return {one.work != wanted if one.seq >= command.seq else None for one in told}


class IdleIsNoticed(Law):
    """Once a device has said that it has the work no more, its attempt ends within a minute, unless it is heard of."""

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._times = RunTimes(picture)
        self._hellos = Hellos(picture)
        self._at_work: dict[int, int] = {}

    def stepped(self, stepped: Stepped) -> Complaints:
        """Take note of what is said."""
        self._hellos.stepped(stepped)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Look at the deadline of each device that has said hello."""
        for _, row in commit.targets:
            if row.target.state == "in_progress":
                self._at_work[row.device_id] = row.id
            elif self._at_work.get(row.device_id) == row.id:
                del self._at_work[row.device_id]
        for device in {device.id: device for device in commit.hellos}.values():
            if device.id in self._at_work:
                yield from self._judge(device, self.picture.targets[self._at_work[device.id]])

    def _judge(self, device: DeviceRecord, row: TargetRecord) -> Iterator[str]:
        left_ms = self._times.left_ms(row)
        if self._hellos.idle(device, row) == {True} and (left_ms or 0) > PATIENCE_MS + TOLERANCE_MS:
            yield f"{row.name} has attempt {row.target.attempt} no more, and is waited for {left_ms} ms longer"
