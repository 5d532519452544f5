"""Find for each updated device that has told numbers one that is held back, whose numbers they are compared with.

The rules this module keeps:

1. As many updated devices are compared as are held back: those that come first in the order of the stage, whoever tells
   first. That order is drawn by a hash, so how devices fare does not decide who is compared.
2. Both are of one stage and one model, and what they tell is no older than `FRESH_SPANS` times the span in which those
   held back are asked again: what changes by the hour is the same for both. Older numbers of an updated device stay
   alone for good, as those do for which nobody is left.
3. Partners are taken in the order of the stage, too, and never by what they told.
4. A pair is marked on both rows in the transaction that counts it, so that neither is ever in another.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from controller.app.advance import Advance
from controller.app.held_back import is_matched
from controller.app.records import TargetRecord
from controller.domain import target as targets
from controller.domain.metrics import Pair
from protocol.units import later

FRESH_SPANS: Final = 2
"""One, and as much again for a device that was out of reach."""


class Match(NamedTuple):
    """Two rows that are compared, an updated device's first."""

    updated: TargetRecord
    control: TargetRecord

    @property
    def pair(self) -> Pair:
        """What they told."""
        return Pair(updated=self.updated.target.measures, control=self.control.target.measures)


def matches(advance: Advance, rows: Iterable[TargetRecord]) -> Iterator[Match]:
    """Yield each of *rows* that has a partner: updated devices whose numbers are new, and stored already."""
    groups: dict[tuple[int, int, str], list[TargetRecord]] = defaultdict(list)
    for row in rows:
        if row.model is not None and is_matched(advance.record(row.run_id), row):
            groups[row.run_id, row.stage, row.model].append(row)
    for (run_id, stage, model), updated in groups.items():
        record = advance.record(run_id)
        since = later(advance.at, -FRESH_SPANS * record.plan.pipeline.stages[stage].gate.remeasure_ms)
        fresh = [row for row in updated if row.target.measured_at is not None and row.target.measured_at >= since]
        partners = advance.tx.watches.partners(record.stage_ids[stage], model=model, since=since, limit=len(fresh))
        yield from map(Match, fresh, partners)


def paired(row: TargetRecord, advance: Advance) -> TargetRecord:
    """Return a row once what its device told is compared."""
    return row.became(targets.paired(row.target), advance.at)
