"""Invariant 8: sequence numbers rise, and a device acts only on what the controller committed for it, in time."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from protocol.ids import Digest
from protocol.units import SECOND
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.picture import Commit, Picture

LATE_MS: Final = 40 * SECOND
"""How far a device's clock may be behind: the round trip of a hello, which is given up after 30 s, and some drift."""


class SequenceRises(Law):
    """Numbers of one device strictly increase, in the database and on the device; nothing foreign is ever begun."""

    number = 8

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._last: dict[int, int] = defaultdict(int)
        self._noted: dict[str, int] = defaultdict(int)

    def committed(self, commit: Commit) -> Complaints:
        """Compare new commands with the last one of their device."""
        for command in commit.commands:
            if command.seq <= self._last[command.device_id]:
                yield f"{command.name} was given seq {command.seq} after {self._last[command.device_id]}"
            self._last[command.device_id] = command.seq

    def stepped(self, stepped: Stepped) -> Complaints:
        """Judge what a device newly took note of."""
        before, after = stepped.before.durable, stepped.after.durable
        if after.noted is before.noted:
            return
        known = {noted.digest for noted in before.noted}
        for noted in after.noted:
            if noted.digest not in known:
                yield from self._judge(stepped, noted.digest)

    def _judge(self, stepped: Stepped, digest: Digest) -> Iterator[str]:
        command = self.picture.commands.get(digest)
        if command is None:
            yield f"{stepped.label} obeys command {digest[:12]}, which was never committed"
            return
        if command.name != stepped.name:
            yield f"{stepped.label} obeys a command for {command.name}"
        if command.seq <= self._noted[stepped.label]:
            yield f"{stepped.label} obeys seq {command.seq} after {self._noted[stepped.label]}"
        self._noted[stepped.label] = command.seq
        floor = stepped.before.durable.run(self.picture.runs[command.run_id].uid).epoch
        if command.epoch < floor:
            yield f"{stepped.label} obeys epoch {command.epoch} of a run whose epoch is {floor} at least"
        late_ms = self.picture.true_now() - command.expires_at
        if late_ms > LATE_MS and not self.picture.jumped_at:
            yield f"{stepped.label} obeys a command {late_ms} ms after its expiry"
