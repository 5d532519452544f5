"""What is different between two definitions: as data, as text, and in one line. In the words and units of files.

>>> from controller.documents import load
>>> [before] = load("{kind: Pipeline, name: shop, stages: [{name: canary}, {name: rest, needs: [canary]}]}")
>>> [after] = load("{kind: Pipeline, name: shop, stages: [{name: canary, pace: {max_in_flight: 5}}, {name: eu}]}")
>>> difference(before, after).changed
(Change(place='stages.canary.pace.max_in_flight', old=None, new=5),)
>>> in_one_line(difference(before, after))
'added stage eu; removed stage rest; canary: pace.max_in_flight default → 5'
"""

from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any, Final

import msgspec

from controller.documents.load import Definition
from controller.documents.render import render, to_document

CHANGES_SHOWN_MAX: Final = 3
VALUE_LENGTH_MAX: Final = 40
CONTEXT_LINES: Final = 3


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One field that has another value: its place (``stages.canary.pace``), None standing for its default."""

    place: str
    old: Any = None
    new: Any = None


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """One stage that needs another."""

    stage: str
    needs: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that is different. Stages are told by their names, so that one that only moved in its list is not new.

    Their order counts where nothing else is different: `is_reordered`.
    """

    stages_added: tuple[str, ...] = ()
    stages_removed: tuple[str, ...] = ()
    edges_added: tuple[Edge, ...] = ()
    edges_removed: tuple[Edge, ...] = ()
    changed: tuple[Change, ...] = ()
    is_reordered: bool = False

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is different."""
        return self == Difference()


def difference(before: Definition | None, after: Definition) -> Difference:
    """Return what *after* has other than *before*; both are pipelines, or both are jobs, or there was none before."""
    new = to_document(after)
    old = {key: new[key] for key in ("kind", "name")} if before is None else to_document(before)
    old_stages, new_stages = _stages(old), _stages(new)
    old_edges, new_edges = _edges(old_stages), _edges(new_stages)
    kept = [name for name in new_stages if name in old_stages]
    changed = [*_changes("", old, new)]
    for name in kept:
        changed += _changes(f"stages.{name}", old_stages[name], new_stages[name])
    return Difference(
        stages_added=tuple(name for name in new_stages if name not in old_stages),
        stages_removed=tuple(name for name in old_stages if name not in new_stages),
        edges_added=tuple(edge for edge in new_edges if edge not in old_edges),
        edges_removed=tuple(edge for edge in old_edges if edge not in new_edges),
        changed=tuple(changed),
        is_reordered=kept != [name for name in old_stages if name in new_stages],
    )


def as_text(before: Definition | None, after: Definition, *, old: str, new: str) -> str:
    """Return a unified diff of two definitions as files, empty where nothing is different.

    Args:
        before: the one before, None where there was none.
        after: the one after.
        old: what the one before is called, such as ``shop@3``.
        new: what the one after is called.
    """
    lines = [] if before is None else render(before).splitlines(keepends=True)
    found = unified_diff(lines, render(after).splitlines(keepends=True), old, new, n=CONTEXT_LINES)
    return "".join(found)


def in_one_line(found: Difference) -> str:
    """Return a difference as one line of a list shows it."""
    parts = [f"added {_named(found.stages_added)}"] if found.stages_added else []
    parts += [f"removed {_named(found.stages_removed)}"] if found.stages_removed else []
    touched = {*found.stages_added, *found.stages_removed}
    parts += [f"{edge.stage} needs {edge.needs}" for edge in found.edges_added if edge.stage not in touched]
    gone = [edge for edge in found.edges_removed if not {edge.stage, edge.needs} & touched]
    parts += [f"{edge.stage} needs {edge.needs} no more" for edge in gone]
    parts += [_said(change) for change in found.changed]
    if not parts:
        return "other order of stages" if found.is_reordered else "nothing"
    more = len(parts) - CHANGES_SHOWN_MAX
    return "; ".join(parts[:CHANGES_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")


def _named(stages: tuple[str, ...]) -> str:
    more = len(stages) - CHANGES_SHOWN_MAX
    named = ", ".join(stages[:CHANGES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
    return f"stage{'' if len(stages) == 1 else 's'} {named}"


def _said(change: Change) -> str:
    stage, _, field = change.place.removeprefix("stages.").partition(".")
    place = f"{stage}: {field}" if change.place.startswith("stages.") else change.place
    return f"{place} {_shown(change.old)} → {_shown(change.new)}"


def _shown(value: Any) -> str:
    if value is None:
        return "default"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[:VALUE_LENGTH_MAX]}…"


def _stages(document: dict[str, Any]) -> dict[str, Any]:
    """Take the stages out of a document and return them by name."""
    return {stage.pop("name"): stage for stage in document.pop("stages", ())}


def _edges(stages: Mapping[str, Any]) -> list[Edge]:
    return [Edge(stage=name, needs=need) for name, stage in stages.items() for need in stage.pop("needs", ())]


def _changes(place: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield each field that is different; mappings are looked into, lists are not."""
    if old == new:
        return
    if not (isinstance(old, dict | None) and isinstance(new, dict | None)):
        yield Change(place=place, old=old, new=new)
        return
    old, new = old or {}, new or {}
    for key in dict.fromkeys([*old, *new]):
        yield from _changes(f"{place}.{key}" if place else key, old.get(key), new.get(key))
