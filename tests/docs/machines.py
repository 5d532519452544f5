"""Diagrams and tables of states: which there are and what may follow from the code, the words from a file."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from controller.domain.states import RUN_TRANSITIONS, STAGE_TRANSITIONS
from controller.domain.target import TRANSITIONS as TARGET_TRANSITIONS
from protocol.lifecycle import TRANSITIONS as ATTEMPT_TRANSITIONS
from tests.docs.tables import FOLDER, table

WORDS: Final[Mapping[str, Any]] = tomllib.loads((FOLDER / "states.toml").read_text())
AT_WORK: Final = "at_work"
"""The box around all states from which the same ends can be reached."""

Table = Mapping[Any, frozenset[Any]]
MACHINES: Final[Mapping[str, Table]] = {
    "run": RUN_TRANSITIONS,
    "stage": STAGE_TRANSITIONS,
    "target": TARGET_TRANSITIONS,
    "attempt": ATTEMPT_TRANSITIONS,
}
SKIPPING: Final = frozenset({"attempt"})
"""Machines in which any step forward may be left out, so that only the next one is drawn."""

_STEP: Final = re.compile(r"^ +(\w+) --> (\w+)$", re.MULTILINE)


def steps_of(transitions: Table) -> list[tuple[StrEnum, StrEnum]]:
    """Return every step of a table, in the order in which the states are declared."""
    return [(before, after) for before in transitions for after in transitions if after in transitions[before]]


def words_of(machine: str, before: str, after: str) -> str:
    """Return when a step is taken."""
    found = WORDS[machine]["steps"]
    return str(found.get(f"{before} -> {after}") or found[f"* -> {after}"])


def diagram(machine: str) -> str:
    """Return a machine as a Mermaid diagram; ends that every state can come to leave from a box around them all."""
    transitions = MACHINES[machine]
    working = [state for state in transitions if transitions[state]]
    ends = [state for state in transitions if not transitions[state]]
    common = [end for end in ends if all(end in transitions[state] for state in working)]
    inner = [step for step in _drawn(machine, transitions) if step[1] in working]
    outer = [step for step in _drawn(machine, transitions) if step[1] in ends and step[1] not in common]
    lines = [f"[*] --> {working[0]}", *_arrows(inner)]
    if common:
        lines = [f"state {AT_WORK} {{", *(f"    {line}" for line in lines), "}"]
        lines += [f"{AT_WORK} --> {end}" for end in common]
    lines += [*_arrows(outer), *(f"{end} --> [*]" for end in ends)]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(f"    {line}" for line in lines) + "\n```"


def _drawn(machine: str, transitions: Table) -> Iterator[tuple[StrEnum, StrEnum]]:
    order = list(transitions)
    for before, after in steps_of(transitions):
        is_next = order.index(after) == order.index(before) + 1
        if machine not in SKIPPING or not transitions[after] or is_next:
            yield before, after


def _arrows(steps: Sequence[tuple[StrEnum, StrEnum]]) -> list[str]:
    return [f"{before} --> {after}" for before, after in steps]


def drawn(text: str, machine: str) -> set[tuple[str, str]]:
    """Return the steps that a diagram shows, read from its text, with those that the page says are left out."""
    arrows = _STEP.findall(text)
    box = re.search(rf"state {AT_WORK} {{(.*?)}}", text, re.DOTALL)
    inside = re.findall(r"\w+", box[1].replace("[*] -->", "").replace("-->", "")) if box else []
    found = {(before, after) for before, after in arrows if before != AT_WORK}
    found |= {(before, after) for source, after in arrows if source == AT_WORK for before in inside}
    return _closed(found, set(inside)) if machine in SKIPPING else found


def _closed(steps: set[tuple[str, str]], within: set[str]) -> set[tuple[str, str]]:
    """Return *steps* and all that come of several of them in a row, within some states."""
    more = {(a, d) for a, b in steps for c, d in steps if b == c and {a, b, d} <= within} - steps
    return _closed(steps | more, within) if more else steps


def states(machine: str) -> str:
    """Return the table of a machine's states."""
    transitions = MACHINES[machine]
    rows = [(f"`{state}`", WORDS[machine]["states"][state], _followers(transitions, state)) for state in transitions]
    return table(("state", "meaning", "may be followed by"), rows)


def _followers(transitions: Table, state: StrEnum) -> str:
    return ", ".join(f"`{after}`" for after in transitions if after in transitions[state]) or "nothing"


def steps(machine: str) -> str:
    """Return the table of a machine's steps; those that are taken for one reason stand together."""
    rows: dict[tuple[str, str], list[str]] = {}
    for before, after in steps_of(MACHINES[machine]):
        rows.setdefault((after, words_of(machine, before, after)), []).append(f"`{before}`")
    cells = [(", ".join(before), f"`{after}`", words) for (after, words), before in rows.items()]
    return table(("from", "to", "when"), cells)
