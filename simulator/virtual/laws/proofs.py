"""Invariant 7, of stages that pass by proof: enough of the first devices to begin are known to have never failed."""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Proof
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.limits import ROUNDING, is_exposed
from simulator.virtual.laws.models import rest
from simulator.virtual.picture import Commit, Picture

_TILTS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)


class ProofsAreThere(Law):
    """A stage passes on a proof only, and does not fail for want of one that is there.

    Whoever is not known to have succeeded, and never to have failed, counts as failed.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._begun: dict[tuple[int, int], list[list[int]]] = {}
        """By run and stage the rows in the order in which they began, with those of one transaction together."""

    def committed(self, commit: Commit) -> Complaints:
        """Take note of who begins, and judge every stage that has come to a verdict."""
        together: dict[tuple[int, int], list[int]] = {}
        for row_before, row in commit.updated:
            if row.target.is_started and not (row_before is not None and row_before.target.is_started):
                together.setdefault((row.run_id, row.stage), []).append(row.id)
        for place, ids in together.items():
            self._begun.setdefault(place, []).append(ids)
        for before, run in commit.runs:
            for index, stage in enumerate(run.plan.pipeline.stages):
                was = "blocked" if before is None else before.run.stages[index].state
                if stage.gate.proof is not None and was == "rolling_out" != run.run.stages[index].state:
                    yield from self._decided(run, index, stage.gate.proof)

    def _decided(self, run: RunRecord, index: int, proof: Proof) -> Iterator[str]:
        now = run.run.stages[index]
        all_of_them = self._in_order(run, index)
        counted = [row for row in rest(run, index, [row for some in all_of_them for row in some]) if _counts(row)]
        whole = _safety(len(counted), sum(not _is_faultless(row) for row in counted), proof)
        best = max([whole, *_of_prefixes(all_of_them, proof)]) * proof.beta_percent / 100
        if now.state in {"soaking", "passed"} and best < 1 - ROUNDING:
            yield f"stage {index} of run {run.uid} is {now.state}, and {best:.3f} of its proof is there"
        is_wanting = now.state == "failed" and "passes at" in now.reason
        if is_wanting and whole * proof.beta_percent / 100 > 1 + ROUNDING:
            yield f"stage {index} of run {run.uid} failed for want of a proof, and its devices are one"

    def _in_order(self, run: RunRecord, index: int) -> list[list[TargetRecord]]:
        rows = self.picture.rows[run.id, index]
        return [[rows[id_] for id_ in ids if id_ in rows] for ids in self._begun.get((run.id, index), [])]


def _of_prefixes(begun: Sequence[Sequence[TargetRecord]], proof: Proof) -> Iterator[float]:
    """Yield the safety of every prefix; of those who began together the faultless ones may have been first."""
    exposed = failed = 0
    for some in begun:
        for row in sorted((row for row in some if _counts(row)), key=_is_faultless, reverse=True):
            exposed, failed = exposed + 1, failed + (not _is_faultless(row))
            yield _safety(exposed, failed, proof)


def _counts(row: TargetRecord) -> bool:
    return is_exposed(row.target)


def _is_faultless(row: TargetRecord) -> bool:
    return row.target.state == "succeeded" and not row.target.is_blamed


def _safety(exposed: int, failed: int, proof: Proof) -> float:
    """Return the mean over odds below one of how much likelier they make what was seen than that of a bad build."""
    rate = proof.below / 100
    return sum(tilt**failed / (1 + (tilt - 1) * rate) ** exposed for tilt in _TILTS) / len(_TILTS)
