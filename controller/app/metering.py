"""Keeping the gauges true: a look at the database every few seconds, which costs the same for a fleet of any size.

How many devices are online only the transport knows without looking at each of them; the rest is counted already.
"""

from typing import Final

from controller.app.controller import Controller
from controller.app.repositories import Transaction
from controller.domain.target import TargetState
from protocol.units import SECOND, later

PERIOD_MS: Final = 5 * SECOND


async def run_for_ever(controller: Controller) -> None:
    """Refresh the gauges until cancelled."""
    while True:
        await refresh(controller)
        await controller.clock.pause_until(later(controller.clock.now(), PERIOD_MS))


async def refresh(controller: Controller) -> None:
    """Set every gauge from the database."""

    def work(tx: Transaction) -> tuple[int, dict[str, int], int]:
        counts = {state.value: 0 for state in TargetState}
        for run_id in tx.runs.active_ids():
            for stage in tx.runs.get(run_id).run.stages:
                for state in TargetState:
                    counts[state.value] += getattr(stage.tally, state.value)
        return tx.devices.count(), counts, tx.commands.unsent_count()

    enrolled, counts, unsent = await controller.read(work)
    online, meters = controller.transport.session_count, controller.meters
    meters.devices.labels(presence="online").set(online)
    meters.devices.labels(presence="offline").set(enrolled - online)
    meters.unsent.set(unsent)
    for state, count in counts.items():
        meters.run_targets.labels(state=state).set(count)
