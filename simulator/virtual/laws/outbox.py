"""Invariant 11: what is handed over was committed before, byte by byte; what was committed is handed over in time."""

from collections import Counter, defaultdict
from typing import Final

from controller.app.records import TargetRecord
from protocol.ids import Digest, Name
from protocol.lifecycle import AttemptState
from protocol.messages import Ack, HelloReply
from protocol.reasons import Reason
from protocol.units import SECOND
from simulator.virtual.laws.law import Complaints, Handed, Law
from simulator.virtual.picture import Commit, Picture, Session

RESEND_MS: Final = 15 * SECOND
SLACK_MS: Final = 20 * SECOND
"""How long a full disk or a full window may hold a command up."""


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


class OwedIsSentAgain(Law):
    """A command that its device has not accepted is sent again, after waits that double, while the device is there.

    It is judged when the attempt ends for want of an answer. A recall, or a wall clock that was set, spoils the count.
    """

    number = 11

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._greeted: dict[Name, tuple[Session | None, int]] = {}
        self._handed_at: dict[Digest, int] = {}
        self._sends: Counter[Digest] = Counter()
        self._resumed_at: dict[int, int] = defaultdict(int)

    def answered_device(self, name: Name, answer: Ack | HelloReply) -> Complaints:
        """Take note since when the device may be sent commands."""
        if isinstance(answer, HelloReply):
            self._greeted[name] = (self.picture.session(name), self.picture.true_now())
        return ()

    def handed(self, handed: Handed) -> Complaints:
        """Count."""
        if handed.command is not None:
            self._handed_at[handed.command.digest] = self.picture.true_now()
            self._sends[handed.command.digest] += 1
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge the attempts that ended unheard."""
        for before, row in commit.targets:
            was_sent = before is not None and before.target.attempt_state is AttemptState.SENT
            if before is not None and was_sent and row.target.reason is Reason.NOT_ACCEPTED:
                yield from self._judge(before)
        for run_before, run in commit.runs:
            if run_before is None or run_before.run.epoch != run.run.epoch:
                self._resumed_at[run.id] = self.picture.true_now()

    def _judge(self, row: TargetRecord) -> Complaints:
        session, greeted_at = self._greeted.get(row.name, (None, 0))
        is_there = session is not None and session == self.picture.session(row.name)
        is_spoilt = row.target.cancel_requested or bool(self.picture.jumped_at)
        if row.target.command is None or not is_there or is_spoilt:
            return
        command = self.picture.commands[row.target.command]
        last = self._handed_at.get(command.digest, command.created_at)
        begun = max(last, greeted_at, self._resumed_at[row.run_id])
        waited_ms = min(self.picture.true_now(), command.expires_at) - begun
        if waited_ms > (RESEND_MS << max(0, self._sends[command.digest] - 1)) + SLACK_MS:
            yield f"the command for {row.name} waited {waited_ms} ms to be sent again, and the device was there"
