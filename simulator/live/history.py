"""What devices did, step by step: evidence for whoever checks a rollout afterwards.

An entry tells what the device has journalled, and is written before what follows from it is carried out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from agent.core.effects import Install
from agent.core.model import Durable
from agent.runtime import Effect
from protocol.ids import Name
from protocol.messages import Mode


class Deed(StrEnum):
    """What a device did."""

    ACCEPTED = "accepted"
    INSTALLED = "installed"
    ENDED = "ended"
    FILED = "filed"
    SETTLED = "settled"
    OBEYED = "obeyed"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One deed of one device; `at` is its boot-time clock in milliseconds.

    ``accepted``, ``installed`` (the installer was asked to) and ``ended`` tell `run` and `attempt`, the last one also
    `state`, `reason` and the `versions` by app that it was left with. ``filed`` and ``settled`` tell the numbers of
    reports that came into and left the outbox. ``obeyed`` tells the `mode` and `epoch` that hold for a run from now on.
    """

    at: int
    device: Name
    incarnation: str
    deed: Deed
    run: str = ""
    attempt: int = 0
    state: str = ""
    reason: str = ""
    versions: Mapping[str, str] = {}
    report_seqs: tuple[int, ...] = ()
    mode: Mode = Mode.GO
    epoch: int = 0


Record = Callable[[Sequence[Entry]], object]
"""Where entries go, in order."""


class HistoryFile:
    """Entries as JSON lines, each on its way to the disk before the device goes on."""

    def __init__(self, path: Path) -> None:
        """Begin the file at *path* anew.

        Raises:
            OSError: when it cannot be written.
        """
        self._file = path.open("wb", buffering=0)
        self._encoder = msgspec.json.Encoder()

    def record(self, entries: Sequence[Entry]) -> None:
        """Write entries."""
        self._file.write(b"".join(self._encoder.encode(entry) + b"\n" for entry in entries))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_history(path: Path) -> list[Entry]:
    """Return the entries of a file; a last line that a crash cut short is left out."""
    lines = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Entry) for line in lines[:-1]]


def deeds(before: Durable, after: Durable, effects: Sequence[Effect], *, at: int) -> list[Entry]:
    """Return what a device did in one step, from what it knew before and after, and what it is told to do.

    What it obeys comes first: the permission that a step brings allows what the same step begins.
    """
    told = Entry(at=at, device=after.name, incarnation=after.incarnation, deed=Deed.FILED)
    return [msgspec.structs.replace(told, **changes) for changes in _changes(before, after, effects)]


def _changes(before: Durable, after: Durable, effects: Sequence[Effect]) -> Iterator[dict[str, object]]:
    for run, note in after.runs.items():
        known = before.run(run)
        if (note.mode, note.epoch) != (known.mode, known.epoch):
            yield {"deed": Deed.OBEYED, "run": run, "mode": note.mode, "epoch": note.epoch}
    yield from _of_work(before, after, effects)
    was, now = ({filed.report_seq for filed in durable.filed} for durable in (before, after))
    if now - was:
        yield {"deed": Deed.FILED, "report_seqs": tuple(sorted(now - was))}
    if was - now:
        yield {"deed": Deed.SETTLED, "report_seqs": tuple(sorted(was - now))}


def _of_work(before: Durable, after: Durable, effects: Sequence[Effect]) -> Iterator[dict[str, object]]:
    known = {(ended.run, ended.attempt) for ended in before.finals}
    for ended in after.finals:
        if (ended.run, ended.attempt) not in known:
            versions = {release.app: release.version for release in after.installed}
            told = {"run": ended.run, "attempt": ended.attempt, "state": ended.state.value, "reason": ended.reason}
            yield {"deed": Deed.ENDED, "versions": versions, **told}
    work = after.work
    if work is not None and (before.work is None or not before.work.is_of(work.run, work.attempt)):
        yield {"deed": Deed.ACCEPTED, "run": work.run, "attempt": work.attempt}
    for effect in effects:
        if isinstance(effect, Install):
            yield {"deed": Deed.INSTALLED, "run": effect.work.run, "attempt": effect.work.attempt}
