"""What a database had to do: every statement that was carried out, with its plan and the steps of SQLite's machine.

A plan tells a scan of a table. It does not tell a search that finds every row of a run; the steps do.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

GRAIN: Final = 100
"""Steps are counted by so many at once."""
_SLOW: Final = ("SCAN", "USE TEMP B-TREE")


@dataclass
class Statement:
    """One text: its plan, how often it was carried out, and the most steps that it took, for each row it was given."""

    text: str
    plan: tuple[str, ...]
    times: int = 0
    steps: int = 0
    rows: int = 1
    steps_max: float = 0

    def end(self) -> None:
        """Take what was counted since it was begun as one time."""
        self.steps_max = max(self.steps_max, self.steps * GRAIN / self.rows)
        self.steps = 0

    def scans(self, tables: Sequence[str]) -> tuple[str, ...]:
        """Return the lines of the plan that go through one of *tables* row by row, or sort what comes of them."""
        is_large = any(line.split()[1] in tables for line in self.plan if line.startswith(("SCAN", "SEARCH")))
        return tuple(
            line
            for line in self.plan
            if line.startswith(_SLOW) and (is_large if line.startswith("USE") else line.split()[1] in tables)
        )


class Statements:
    """Takes note of every statement on some engines, from whatever thread."""

    def __init__(self) -> None:
        self.by_text: dict[str, Statement] = {}
        self._now: dict[int, Statement] = {}

    def __iter__(self) -> Iterator[Statement]:
        """Yield the statements that were carried out, those that took the most steps first."""
        for statement in self._now.values():
            statement.end()
        return iter(sorted(self.by_text.values(), key=lambda statement: -statement.steps_max))

    @contextmanager
    def watched(self, *engines: sa.Engine) -> Iterator["Statements"]:
        """Watch *engines* meanwhile."""
        for engine in engines:
            sa.event.listen(engine, "before_cursor_execute", self._before)
        try:
            yield self
        finally:
            for engine in engines:
                sa.event.remove(engine, "before_cursor_execute", self._before)

    def _before(
        self, connection: sa.Connection, _cursor: object, text: str, values: Any, _context: object, is_many: bool
    ) -> None:
        if text.startswith(("BEGIN", "PRAGMA")):
            return
        raw = connection.connection.driver_connection
        assert raw is not None
        key = id(raw)
        if key in self._now:
            self._now[key].end()
        raw.set_progress_handler(None, GRAIN)
        if text not in self.by_text:
            self.by_text[text] = Statement(text, _plan(raw, text, values[0] if is_many else values))
        statement = self._now[key] = self.by_text[text]
        statement.times += 1
        statement.rows = len(values) if is_many else 1

        def step() -> int:
            statement.steps += 1
            return 0

        raw.set_progress_handler(step, GRAIN)


def _plan(raw: Any, text: str, values: Sequence[object] | Mapping[str, object]) -> tuple[str, ...]:
    return tuple(line for *_, line in raw.execute(f"EXPLAIN QUERY PLAN {text}", values))
