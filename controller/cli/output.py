"""What commands print: tables for people, and the API's own JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from rich.console import Console

PIPE_WIDTH: Final = 1_000
"""Nothing is cut off where a program reads."""


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    NAME = "name"


class Column(NamedTuple):
    """One column of a table: its title, and the field or function that fills it; wide ones show with ``-o wide``."""

    title: str
    source: str | Callable[[Any], object]
    is_wide: bool = False

    def cell(self, item: Any) -> str:
        """Return the text of one cell, which is empty where an older controller does not tell the field."""
        return text_of(item.get(self.source) if isinstance(self.source, str) else self.source(item))


class Shape(NamedTuple):
    """How things of one kind are shown: the field that names one, and the columns."""

    name: str
    columns: Sequence[Column]


def text_of(value: object) -> str:
    """Return a value as a cell shows it."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key}={inner}" for key, inner in sorted(value.items())) or "-"
        case list():
            return ", ".join(text_of(inner) for inner in value) or "-"
        case _:
            return str(value)


class Printer:
    """Prints data on standard output, and messages on standard error."""

    def __init__(self, output: Output) -> None:
        self.output = output
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        self.console = Console(highlight=False, width=width)
        self.messages = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def is_for_people(self) -> bool:
        """Say whether the form of output is for people."""
        return self.output in {Output.TABLE, Output.WIDE}

    def say(self, message: str) -> None:
        """Print a message for people."""
        self.messages.print(message, markup=False)

    def items(self, items: Iterable[Any], shape: Shape) -> None:
        """Print a list of things."""
        match self.output:
            case Output.TABLE | Output.WIDE:
                self._table(list(items), shape)
            case Output.JSON:
                self.raw(json.dumps(list(items), indent=2, ensure_ascii=False))
            case Output.JSONL:
                for item in items:
                    self.raw(json.dumps(item, ensure_ascii=False))
            case Output.YAML:
                self.raw(_yaml(list(items)).rstrip("\n"))
            case Output.NAME:
                for item in items:
                    self.raw(str(item[shape.name]))

    def item(self, item: Any, shape: Shape) -> None:
        """Print one thing: for people, field by field."""
        match self.output:
            case Output.TABLE | Output.WIDE:
                self._fields(item, shape)
            case Output.JSON:
                self.raw(json.dumps(item, indent=2, ensure_ascii=False))
            case Output.YAML:
                self.raw(_yaml(item).rstrip("\n"))
            case Output.JSONL | Output.NAME:
                self.items([item], shape)

    def line(self, item: Any, shape: Shape) -> None:
        """Print one thing of a stream on one line, at once; for programs always as JSON, or by its name."""
        if self.is_for_people:
            columns = [column for column in shape.columns if self.output is Output.WIDE or not column.is_wide]
            self.raw("  ".join(str(_plain(column.cell(item))) for column in columns))
        elif self.output is Output.NAME:
            self.raw(str(item[shape.name]))
        else:
            self.raw(json.dumps(item, ensure_ascii=False))
        sys.stdout.flush()

    def raw(self, text: str) -> None:
        """Print text as it is."""
        sys.stdout.write(text + "\n")

    def _table(self, items: list[Any], shape: Shape) -> None:
        from rich.table import Table

        if not items:
            self.say("nothing found")
            return
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        columns = [column for column in shape.columns if self.output is Output.WIDE or not column.is_wide]
        for column in columns:
            table.add_column(column.title, no_wrap=True)
        for item in items:
            table.add_row(*(_plain(column.cell(item)) for column in columns))
        self.console.print(table)

    def _fields(self, item: Any, shape: Shape) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
        for column in shape.columns:
            table.add_row(_plain(column.title), _plain(column.cell(item)))
        self.console.print(table)


def _plain(text: str) -> Any:
    """Return text that is shown as it is: no markup, and no control characters that could drive the terminal."""
    from rich.text import Text

    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))


def _yaml(data: Any) -> str:
    import yaml

    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
