"""Invariant 3: after a pause or a termination was answered, nothing of the run is sent, and nobody who knows begins."""

from collections import defaultdict

from controller.app.standstill import EVERYTHING
from protocol.ids import Name
from protocol.messages import Ack, HelloReply, Mode, Op
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law, Stepped
from simulator.virtual.picture import Commit, Picture

_STARTS = frozenset({Op.INSTALL, Op.WATCH, Op.GO})
_PAUSES = frozenset({"pause", "stop"})
_RESUMES = frozenset({"resume", "lift"})


class NothingAfterThePause(Law):
    """A pause is a fence: at the transport from its answer on, at a device from the moment it has heard."""

    number = 3

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._stopped: dict[str, str] = {}
        self._resumes: dict[str, set[int]] = defaultdict(set)
        self._last_resume: dict[str, int] = defaultdict(int)
        self._heard: dict[tuple[str, str], tuple[int, Mode]] = {}

    def asked(self, asked: Asked) -> Complaints:
        """Lift the fence as soon as somebody asks for it."""
        if asked.act in _RESUMES:
            self._resumes[asked.subject].add(asked.number)
            self._last_resume[asked.subject] = asked.number
            if self._stopped.get(asked.subject) in _PAUSES:
                del self._stopped[asked.subject]
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Raise the fence, unless somebody has asked for the opposite meanwhile."""
        run = asked.subject
        self._resumes[run].discard(asked.number)
        is_undone = self._resumes[run] or self._last_resume[run] > asked.number
        if is_done and (asked.act == "terminate" or (asked.act in _PAUSES and not is_undone)):
            self._stopped[run] = asked.act
        return ()

    def handed(self, handed: Handed) -> Complaints:
        """Judge a command by the fence of its run."""
        command = handed.command
        if command is None or command.op not in _STARTS:
            return
        stop = self._stop_of(self.picture.runs[command.run_id].uid)
        if stop is not None:
            yield f"{command.op} for {command.name} was handed over after {stop} was answered"

    def answered_device(self, name: Name, answer: Ack | HelloReply) -> Complaints:
        """Judge a permit given in a hello reply."""
        if isinstance(answer, HelloReply) and answer.work is not None and answer.work.mode is Mode.GO:
            stop = self._stop_of(answer.work.run)
            if stop is not None:
                yield f"{name} was told to go on after {stop} was answered"

    def _stop_of(self, run: str) -> str | None:
        return self._stopped.get(run) or self._stopped.get(EVERYTHING)

    def stepped(self, stepped: Stepped) -> Complaints:
        """Take note of what a device has heard of its runs, by the commands it took note of."""
        if stepped.after.durable.noted is stepped.before.durable.noted:
            return ()
        known = {noted.digest for noted in stepped.before.durable.noted}
        for noted in stepped.after.durable.noted:
            command = self.picture.commands.get(noted.digest)
            if noted.digest in known or command is None:
                continue
            key = (stepped.label, noted.run)
            mode = Mode(command.op) if command.op.is_control else Mode.GO
            if command.epoch >= self._heard.get(key, (0, Mode.GO))[0]:
                self._heard[key] = (command.epoch, mode)
        return ()

    def installs(self, stepped: Stepped) -> Complaints:
        """Judge a device that begins the irreversible step by what it has heard."""
        work = stepped.after.durable.work
        assert work is not None
        epoch, mode = self._heard.get((stepped.label, work.run), (0, Mode.GO))
        if mode is not Mode.GO and work.epoch <= epoch:
            yield f"{stepped.label} installs at epoch {work.epoch} though it was told to {mode} at epoch {epoch}"
        note = stepped.after.durable.run(work.run)
        if note.mode is not Mode.GO:
            yield f"{stepped.label} installs though its journal says {note.mode}"
        if work.epoch < note.epoch:
            yield f"{stepped.label} installs at epoch {work.epoch}, and its journal demands epoch {note.epoch}"


class FencedIsNeverSent(Law):
    """What a commit closed or made void is never handed over again once the controller knows of the commit."""

    number = 3

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._epochs: dict[int, int] = {}
        self._voided: set[int] = set()

    def told(self, commit: Commit) -> Complaints:
        """Raise the fences of a commit."""
        for _, run in commit.runs:
            self._epochs[run.id] = max(run.run.epoch, self._epochs.get(run.id, 0))
        self._voided.update(commit.voided)
        return ()

    def handed(self, handed: Handed) -> Complaints:
        """Judge a command by the fences."""
        command = handed.command
        if command is None:
            return
        if command.id in self._voided:
            yield f"{command.op} for {command.name} was handed over though it had been closed"
        if command.epoch < self._epochs.get(command.run_id, 0):
            yield f"{command.op} for {command.name} at epoch {command.epoch} was handed over after the epoch was over"
