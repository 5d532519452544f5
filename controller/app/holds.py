"""What of the whole tenant holds a run from its beginning: that everything is stopped, and the freeze calendar."""

from controller.app.repositories import Transaction
from controller.domain.freeze import Freeze
from controller.domain.model import Plan
from controller.domain.settle import STOP_EVERYTHING


def reasons(tx: Transaction) -> tuple[str, ...]:
    """Return the pause reasons that a run begins with."""
    return () if tx.tenant.standstill() is None else (STOP_EVERYTHING,)


def freezes(tx: Transaction, plan: Plan) -> tuple[Freeze, ...]:
    """Return the freezes that concern a run of *plan*."""
    name = plan.pipeline.name
    return tuple(record.freeze for record in tx.tenant.freezes() if record.freeze.concerns(name))
