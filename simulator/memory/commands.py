"""`controller.app.repositories.Commands` in memory."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from controller.app.records import CommandRecord, CommandState, GivenCommand
from protocol.ids import Digest
from protocol.units import Instant
from simulator.memory.deadlines import Deadlines
from simulator.memory.journal import Journal
from simulator.memory.runs import MemoryRuns
from simulator.memory.targets import STAGE_SHIFT

_OPEN: Final = frozenset({CommandState.UNSENT, CommandState.SENT})


class MemoryCommands:
    """Commands, with their exact bytes. What is open is what has a time at which to be sent."""

    def __init__(self, journal: Journal, runs: MemoryRuns) -> None:
        self._journal = journal
        self._runs = runs
        self._rows: dict[int, CommandRecord] = {}
        self._ids: dict[Digest, int] = {}
        self._open: Final = Deadlines(journal)
        self._unsent: dict[int, None] = {}
        self._controls: dict[int, tuple[int, ...]] = {}
        """By device: the open commands that belong to no target."""
        self._of_target: dict[int, tuple[int, ...]] = {}
        self._installs: defaultdict[int, dict[int, None]] = defaultdict(dict)
        """By run: the open commands that belong to a target."""
        self.closed: Final[list[int]] = []

    def begin(self) -> None:
        """Begin another transaction, which has closed nothing yet."""
        self.closed.clear()

    def add(self, commands: Sequence[CommandRecord]) -> list[CommandRecord]:
        return [self._add(command) for command in commands]

    def given(self, digests: Collection[Digest]) -> dict[Digest, GivenCommand]:
        return {digest: _given(self._rows[self._ids[digest]]) for digest in sorted(digests) if digest in self._ids}

    def open_for(self, target_id: int) -> list[CommandRecord]:
        return [self._rows[id_] for id_ in sorted(self._of_target.get(target_id, ()))]

    def controls_for(self, device_ids: Collection[int]) -> list[CommandRecord]:
        ids = [id_ for device_id in dict.fromkeys(device_ids) for id_ in self._controls.get(device_id, ())]
        return [self._rows[id_] for id_ in sorted(ids)]

    def due(self, at: Instant, *, limit: int) -> list[CommandRecord]:
        return [self._rows[id_] for id_ in self._open.until(at, limit=limit)]

    def next_due(self) -> Instant | None:
        earliest = self._open.earliest()
        return None if earliest is None else Instant(earliest)

    def mark_sent(self, ids: Collection[int], *, again_at: Instant) -> None:
        for command in self._open_ones(ids):
            state = CommandState.DONE if command.op.is_control else CommandState.SENT
            sent = msgspec.structs.replace(command, state=state, sends=command.sends + 1, send_at=again_at)
            self._put(command, sent)

    def drop(self, ids: Collection[int]) -> list[int]:
        return self._close(self._open_ones(ids), CommandState.DONE)

    def postpone(self, ids: Collection[int], *, until: Instant) -> None:
        for command in self._open_ones(ids):
            self._put(command, msgspec.structs.replace(command, send_at=until))

    def close(self, target_ids: Collection[int]) -> list[int]:
        found = self._open_ones([id_ for target in target_ids for id_ in self._of_target.get(target, ())])
        return self._close(found, CommandState.DONE)

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        assert self._runs.is_known(run_id), f"run {run_id} does not exist"
        stage_id = None if stage is None else self._stage_id(run_id, stage)
        installs = [self._rows[id_] for id_ in sorted(self._installs[run_id])]
        return self._close([c for c in installs if stage_id in {None, _stage_of(c)}], CommandState.VOID)

    def unsent_count(self) -> int:
        return len(self._unsent)

    def _add(self, command: CommandRecord) -> CommandRecord:
        assert command.digest not in self._ids, f"two commands have the digest {command.digest}"
        assert self._runs.is_known(command.run_id), f"run {command.run_id} does not exist"
        added = msgspec.structs.replace(command, id=len(self._rows) + 1)
        self._journal.put(self._ids, added.digest, added.id)
        self._put(None, added)
        return added

    def _stage_id(self, run_id: int, stage: int) -> int:
        stage_ids = self._runs.get(run_id).stage_ids
        assert 0 <= stage < len(stage_ids), f"run {run_id} has no stage {stage}"
        return stage_ids[stage]

    def _close(self, commands: Sequence[CommandRecord], state: CommandState) -> list[int]:
        for command in commands:
            self._put(command, msgspec.structs.replace(command, state=state))
        closed = sorted(command.id for command in commands)
        self.closed.extend(closed)
        return closed

    def _open_ones(self, ids: Collection[int]) -> list[CommandRecord]:
        return [self._rows[id_] for id_ in dict.fromkeys(ids) if id_ in self._open]

    # --- indexes ------------------------------------------------------------------------------------------------

    def _put(self, before: CommandRecord | None, after: CommandRecord) -> None:
        was_open, is_open = before is not None, after.state in _OPEN
        self._journal.put(self._rows, after.id, after)
        self._open.set(after.id, after.send_at if is_open else None)
        if is_open and not was_open:
            self._opened(after)
        elif was_open and not is_open:
            self._closed(after)
        self._note_unsent(after)

    def _note_unsent(self, command: CommandRecord) -> None:
        is_unsent = command.state is CommandState.UNSENT
        if is_unsent and command.id not in self._unsent:
            self._journal.put(self._unsent, command.id, None)
        elif not is_unsent and command.id in self._unsent:
            self._journal.drop(self._unsent, command.id)

    def _opened(self, command: CommandRecord) -> None:
        if command.target_id is None:
            self._link(self._controls, command.device_id, command.id)
        else:
            self._link(self._of_target, command.target_id, command.id)
            self._journal.put(self._installs[command.run_id], command.id, None)

    def _closed(self, command: CommandRecord) -> None:
        if command.target_id is None:
            self._unlink(self._controls, command.device_id, command.id)
        else:
            self._unlink(self._of_target, command.target_id, command.id)
            self._journal.drop(self._installs[command.run_id], command.id)

    def _link(self, index: dict[int, tuple[int, ...]], key: int, id_: int) -> None:
        self._journal.put(index, key, (*index.get(key, ()), id_))

    def _unlink(self, index: dict[int, tuple[int, ...]], key: int, id_: int) -> None:
        rest = tuple(one for one in index[key] if one != id_)
        if rest:
            self._journal.put(index, key, rest)
        else:
            self._journal.drop(index, key)


def _stage_of(command: CommandRecord) -> int:
    assert command.target_id is not None
    return command.target_id >> STAGE_SHIFT


def _given(command: CommandRecord) -> GivenCommand:
    return GivenCommand(**{name: getattr(command, name) for name in GivenCommand.__struct_fields__})
