"""Approvals: other people's consent to promote a stage of one run.

The rules this module keeps:

1. An approval is bound to the revision, version and salt that its person saw. One that is bound to others counts
   nothing, and since it is kept with the run's stage, an edit or a new run needs new ones.
2. Neither the author of the revision nor who started the run approves: the one decided what happens, the other chose
   version, values and moment; a second person is to look at both. What a trigger started, only its author may not.
3. One person is one approval, however often, and by whichever token of that name.
"""

from controller.domain.model import Approval, Plan, Run


def is_barred(plan: Plan, person: str) -> bool:
    """Say whether a person has a part in what is to be approved.

    >>> from controller.domain.pipeline import Operation, Pipeline
    >>> from protocol.messages import ReleaseRef
    >>> release = ReleaseRef(path="shop/1/shop.tar.gz", sha256="0" * 64, length=1, counter=1)
    >>> plan = Plan(
    ...     pipeline=Pipeline(name="shop", stages=()),
    ...     revision=3,
    ...     author="ann",
    ...     operation=Operation(app="shop", version="1"),
    ...     release=release,
    ...     salt="s",
    ...     started_by="bob",
    ... )
    >>> [is_barred(plan, person) for person in ("ann", "bob", "cem")]
    [True, True, False]
    """
    return person in {plan.author, plan.started_by}


def is_bound(plan: Plan, approval: Approval) -> bool:
    """Say whether an approval is of just this revision, version and salt."""
    bound = approval.revision, approval.version, approval.salt
    return bound == (plan.revision, plan.operation.version, plan.salt)


def missing(plan: Plan, run: Run, index: int) -> int:
    """Return how many more people must approve a stage before it can be promoted."""
    given = run.stages[index].approvals
    people = {one.by for one in given if is_bound(plan, one) and not is_barred(plan, one.by)}
    return max(0, plan.pipeline.stages[index].approvals - len(people))
