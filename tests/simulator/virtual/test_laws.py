"""What laws compute by themselves is what the code computes in another way."""

from itertools import product

import pytest

from controller.domain.gates.ramp import next_batch
from simulator.virtual.builds import FLEETS
from simulator.virtual.laws.ramps import batch

STANDS = [(exposed, failed) for exposed, failed in product(range(0, 20, 4), range(3)) if failed <= exposed]
RAMPS = list(product((1, 2), (0.01, 0.3), (0.01, 0.5), (2, 15)))


@pytest.mark.parametrize(("risk", "above", "delta", "rounds"), RAMPS)
def test_a_dense_grid_of_rates_pays_for_the_batches_that_tangents_pay_for(
    risk: int, above: float, delta: float, rounds: int
) -> None:
    for exposed, failed in STANDS:
        left = FLEETS[-1] - exposed
        ours = next_batch(exposed, failed, left=left, risk=risk, above=above, delta=delta, rounds=rounds, spent=1)
        assert batch(exposed, failed, left, risk=risk, above=above, share=delta / rounds) == ours
