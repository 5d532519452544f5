"""Waits before another try: bounded, spread out, and the same for the same seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.backoff import full_jitter, spread


@given(st.integers(min_value=-1, max_value=10_000), st.text())
def test_a_wait_never_exceeds_its_limits(attempt: int, seed: str) -> None:
    wait = full_jitter(attempt=attempt, base_ms=1_000, cap_ms=60_000, seed=seed)
    assert 0 <= wait <= min(60_000, 1_000 * 2 ** min(max(attempt, 0), 10))


def test_a_thousand_devices_are_spread_over_the_whole_span() -> None:
    waits = [spread(10_000, seed=f"device-{n}") for n in range(1_000)]
    assert sum(waits) / 1_000 == pytest.approx(5_000, abs=400)
    assert min(waits) < 100
    assert max(waits) > 9_900
    assert waits[0] == spread(10_000, seed="device-0")
