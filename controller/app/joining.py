"""Devices that come to match a stage while it is rolling out: where it includes new ones, they join it.

The rules this module keeps:

1. Whoever fulfils what the stage asks for, by the same selector as when its membership was fixed, and is a member of no
   stage of the run, joins the first open stage that takes it, unless its model is quarantined in the run. A device is
   in one stage of a run.
2. Newcomers come behind everybody else in the order of dispatch, among themselves in the order of the salt.
3. Where no stage is open to newcomers, finding that out is one look at an index that is empty.
"""

from collections import Counter
from collections.abc import Sequence

from controller.app.advance import Advance
from controller.app.membership import Member, member_of
from controller.app.records import Candidate, RunRecord
from controller.domain import newcomers
from controller.domain.events import Joined
from controller.domain.quarantine import barred
from controller.domain.query import Described, matches
from controller.domain.selector import formula_of, is_left_out, position

Known = Sequence[tuple[Candidate, Described]]


def join(advance: Advance, run_id: int, known: Known) -> None:
    """Make devices members of the stages of a run that are open to them, and let it go on with them."""
    joined = _enlist(advance, advance.record(run_id), known)
    if joined:
        counts = {stage: len(members) for stage, members in joined.items()}
        models = {stage: Counter(member.model for member in members) for stage, members in joined.items()}
        advance.run(run_id, Joined(at=advance.at, counts=counts, models=models))


def _enlist(advance: Advance, record: RunRecord, known: Known) -> dict[int, list[Member]]:
    """Enlist devices whose model nothing keeps out; return who joined, by stage."""
    members = advance.tx.targets.members_among(record.id, [candidate.id for candidate, _ in known])
    salt, found, out = record.plan.salt, dict[int, list[Member]](), barred(record.run)
    for stage in newcomers.open_stages(record.plan, record.run):
        matching = [candidate for candidate in _matching(record, stage, known) if not out.has(candidate.model)]
        chosen = [candidate for candidate in matching if candidate.id not in members]
        if chosen:
            chosen.sort(key=lambda candidate: position(candidate.device, salt=salt))
            found[stage] = [member_of(one) for one in chosen]
            advance.enlist(record, stage, found[stage], first_id=advance.tx.targets.next_id(record.stage_ids[stage]))
            members.update(candidate.id for candidate in chosen)
    return found


def _matching(record: RunRecord, stage: int, known: Known) -> list[Candidate]:
    wanted, salt = record.plan.pipeline.stages[stage].targets, record.plan.salt
    where = formula_of(wanted)
    return [
        candidate
        for candidate, described in known
        if matches(where, described) and not is_left_out(wanted, candidate.device, salt=salt)
    ]
