"""The real controller with two probes in it: what it hands to devices and when, and what it asks its database.

It is started like ``tidegate``, with a file before the arguments. On SIGUSR1 it writes there what it has seen.
"""

import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller import bootstrap, cli
from controller.edge.endpoint import Endpoint
from protocol.codec import decode
from protocol.envelope import parse
from protocol.ids import Name
from protocol.messages import Command
from protocol.topics import DownlinkKind


class Handed(msgspec.Struct, frozen=True):
    """One command handed to the transport: when, by CLOCK_MONOTONIC in nanoseconds, and what it says."""

    at: int
    op: str


class Statement(msgspec.Struct, frozen=True):
    """One statement: its text, the values it first had, and when it was carried out, in nanoseconds."""

    text: str
    values: list[Any]
    at: list[int]


class Seen(msgspec.Struct, frozen=True):
    """What a controller did."""

    handed: list[Handed]
    statements: list[Statement]


_handed: Final[list[tuple[int, bytes]]] = []
_statements: Final[dict[str, Statement]] = {}


class ProbedEndpoint(Endpoint):
    """The endpoint, with a note of every command that it takes."""

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Hand over and note."""
        is_written = super().write(name, kind, payload)
        if is_written and kind is DownlinkKind.COMMAND:
            _handed.append((time.monotonic_ns(), payload))
        return is_written


def _note(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, is_many: bool) -> None:
    first = list(values[0] if is_many else values)
    _statements.setdefault(text, Statement(text, first, [])).at.append(time.monotonic_ns())


def _write(out: Path) -> None:
    handed = []
    for at, raw in _handed:
        command = decode(parse(raw).payload, Command)
        handed.append(Handed(at, command.op))
    new = out.with_suffix(".new")
    new.write_bytes(msgspec.msgpack.encode(Seen(handed, list(_statements.values()))))
    new.rename(out)


def main() -> None:
    """Run ``tidegate`` with the probes in place."""
    out = Path(sys.argv.pop(1))
    setattr(bootstrap, "Endpoint", ProbedEndpoint)  # noqa: B010 - mypy lets no class be assigned
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", _note)
    signal.signal(signal.SIGUSR1, lambda *_: _write(out))
    cli.main()
