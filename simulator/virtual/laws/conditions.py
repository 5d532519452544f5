"""Invariant 6, for stages with a condition: each opens when its condition holds by our own count, and else is skipped.

The conditions that worlds draw are read here by other means than the controller's, and judged by the rows.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Stage
from protocol.ids import Name, StageName
from protocol.outputs import Outputs
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.picture import Commit, Picture

_TERM: Final = re.compile(
    r'(?P<what>\w+)\("(?P<stage>\w+)"(?:, state == "(?P<state>\w+)")?(?:, "(?P<output>\w+)")?\)'
    r" (?P<compare>[<>]=?) (?P<number>\d+)%?"
)
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_ENDS: Final = frozenset({"succeeded", "failed", "rejected", "timed_out", "cancelled", "removed"})

Rows = Mapping[int, TargetRecord]


class ConditionsAreObeyed(Law):
    """A stage is opened when its condition holds, and skipped for it when it does not.

    Within one commit rows change both before and after a stage is judged, so that any moment of it will do.
    """

    number = 6

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._rows: dict[int, dict[int, TargetRecord]] = defaultdict(dict)

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage that was opened or skipped."""
        decided = [found for before, run in commit.runs for found in _decided(before, run)]
        moments = {run.id: list(self._moments(run, commit)) for run, _, _ in decided}
        for run, stage, is_open in decided:
            if not any(_holds(stage, run, rows) is is_open for rows in moments[run.id]):
                how = "opened, and its condition does not hold" if is_open else "skipped, and its condition holds"
                yield f"stage {stage.name} of run {run.uid} was {how}: {stage.when}"
        for _, row in commit.updated:
            self._rows[row.run_id][row.id] = row

    def _moments(self, run: RunRecord, commit: Commit) -> Iterator[Rows]:
        rows = dict(self._rows[run.id])
        yield dict(rows)
        for _, row in commit.updated:
            if row.run_id == run.id:
                rows[row.id] = row
                yield dict(rows)


def _decided(before: RunRecord | None, run: RunRecord) -> Iterator[tuple[RunRecord, Stage, bool]]:
    """Yield each stage with a condition that was opened, or skipped for it, and which of the two."""
    for index, (stage, now) in enumerate(zip(run.plan.pipeline.stages, run.run.stages, strict=True)):
        was = None if before is None else before.run.stages[index]
        was_decided = was is not None and (was.opened_at is not None or was.state == "skipped")
        if not stage.when or was_decided:
            continue
        if now.opened_at is not None:
            yield run, stage, True
        elif now.state == "skipped" and now.reason.startswith("condition:"):
            yield run, stage, False


def _holds(stage: Stage, run: RunRecord, rows: Rows) -> bool:
    index_of = {one.name: index for index, one in enumerate(run.plan.pipeline.stages)}
    is_all = "||" not in stage.when
    found = []
    for text in re.split(r" (?:&&|\|\|) ", stage.when):
        term = _TERM.search(text)
        assert term is not None, f"no world draws the condition {stage.when}"
        own = [row for row in rows.values() if row.stage == index_of[StageName(term["stage"])]]
        number = _number(term, own)
        if number is None:
            return False
        found.append(_COMPARE[term["compare"]](number, float(term["number"])) is not text.startswith("!"))
    return all(found) if is_all else any(found)


def _number(term: re.Match[str], rows: Sequence[TargetRecord]) -> float | None:
    counted = [row for row in rows if term["state"] in {None, row.target.state.value}]
    match term["what"]:
        case "count":
            return len(counted)
        case "share":
            return 100 * len(counted) / len(rows) if rows else 0.0
        case what:
            ended = [row.target.outputs.get(term["output"]) for row in rows if row.target.state.value in _ENDS]
            numbers = [value for value in ended if isinstance(value, int | float)]
            return _figure(what, numbers) if numbers else None


def _figure(what: str, numbers: Sequence[float]) -> float:
    in_order = sorted(numbers)
    return {"min": in_order[0], "max": in_order[-1]}.get(what, sum(in_order) / len(in_order))


class OutputsAreTheDevices(Law):
    """What is kept of a device that said that it succeeded is what it told with that, word for word."""

    number = 5

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._told: dict[tuple[Name, str, int], list[Outputs]] = defaultdict(list)

    def stepped(self, stepped: Stepped) -> Complaints:
        """Take note of what a device tells at the end of an attempt; clones tell each their own."""
        known = stepped.before.durable.finals[-1:]
        for ended in stepped.after.durable.finals[-1:]:
            if (ended,) != known and ended.state.is_terminal:
                self._told[stepped.name, ended.run, ended.attempt].append(ended.outputs)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every row that has just succeeded."""
        for before, row in commit.updated:
            target = row.target
            if target.state != "succeeded" or (before is not None and before.target.state == "succeeded"):
                continue
            told = self._told[row.name, self.picture.runs[row.run_id].uid, target.attempt]
            if target.outputs not in told:
                yield f"{row.name} told {told}, and {target.outputs} is kept"
