"""Invariant 11: what is handed to the transport was committed before, byte by byte, and is still good."""

from simulator.virtual.laws.law import Complaints, Handed, Law


class CommittedBeforeSent(Law):
    """Every command on the wire has its committed row, and none is sent after its expiry."""

    number = 11

    def handed(self, handed: Handed) -> Complaints:
        """Look the bytes up."""
        command = handed.command
        if command is None:
            yield f"bytes for {handed.name} were handed over that were never committed"
        elif command.payload != handed.payload:
            yield f"other bytes than those of command {command.id} were handed over"
        elif command.expires_at <= self.picture.wall_now():
            yield f"{command.op} for {command.name} was handed over after its expiry"
