"""Server-sent events as they are read: lines to events (HTML standard, section 9.2.6)."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

END: Final = "end"
"""The kind of the last event of a stream."""


class ServerEvent(NamedTuple):
    """One event: its kind, its data as text, and its id, 0 where it has none."""

    kind: str
    data: str
    id: int


def events_of(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Yield the events of a stream; comments and what is cut off at its end are none.

    >>> list(events_of(["retry: 1", "", ": quiet", "", "event: entry", "id: 7", "data: {}", "", "data: cut"]))
    [ServerEvent(kind='entry', data='{}', id=7)]
    """
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield ServerEvent(fields.get("event", "message"), fields["data"], int(fields.get("id", "0")))
        fields = {}
