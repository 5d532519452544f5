"""Invariant 7, of devices that tell numbers: who can is asked to, and each waits for an acknowledgement."""

from agent.core.model import FiledKind
from protocol.codec import decode
from protocol.health import MEASURE
from protocol.messages import Command, Op
from simulator.virtual.laws.law import Complaints, Handed, Law, Stepped
from simulator.virtual.laws.told import again_ms


class MeasuresAreFew(Law):
    """A device that tells numbers was asked to and can, and tells none before the last are acknowledged.

    It is asked to late in its soak, where it is updated: so it tells once.
    """

    number = 7

    def stepped(self, stepped: Stepped) -> Complaints:
        """Judge what a device has filed."""
        count = sum(filed.kind is FiledKind.MEASURE for filed in stepped.after.durable.filed)
        if count > 1:
            yield f"{stepped.label} tells numbers, and {count - 1} reports of others are not acknowledged"

    def handed(self, handed: Handed) -> Complaints:
        """Judge who is asked to tell numbers, and how often."""
        row = handed.command
        command = None if row is None else decode(row.payload, Command)
        if row is None or command is None or not command.measure_ms:
            return
        if MEASURE not in self.picture.capabilities[row.device_id]:
            yield f"{row.name} is asked to tell numbers, and never said that it can"
        assert row.target_id is not None, "only an attempt is measured"
        target = self.picture.targets[row.target_id]
        gate = self.picture.runs[row.run_id].plan.pipeline.stages[target.stage].gate
        is_asked_for = gate.control is not None and gate.control.metrics and command.watch_ms
        late_ms = gate.soak_ms * 9 // 10
        if not is_asked_for or command.measure_ms != (again_ms(late_ms) if row.op is Op.WATCH else late_ms):
            yield f"{row.name} is asked to tell numbers every {command.measure_ms} ms in a soak of {gate.soak_ms} ms"
