"""The figures of gates: that they are there, and that a broken promise fails."""

import pytest

from controller.domain.gates.comparison import Fate, Row
from tests.benchmarks import gates
from tests.benchmarks.measure import BenchmarkFailed, Cost


def test_every_rule_is_compared_at_every_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "COUNT", 3)
    found = list(gates.figures(devices=120))
    rules = gates.rivals(120)
    assert len(found) == 4 + len(rules) * len(gates.RATES)
    assert all(figure.line() and figure.data() for figure in found)
    cells = {figure.name: figure for figure in found}
    aws = cells["AWS 5% of 50, builds of 5%"]
    assert isinstance(aws, Cost)
    assert (aws.unit, aws.bound) == ("% stopped", "this gate")
    fast = cells["SPRT 2% v 30%, builds of 30%"]
    assert isinstance(fast, Cost)
    assert (fast.unit, fast.amount, fast.bound_amount) == ("devices", 8, 9)


def test_a_broken_promise_fails() -> None:
    row = Row(rule="this gate", false_stop=0.011, fates=(Fate(rate=0.02, stopped=0.011, median=None),))
    with pytest.raises(BenchmarkFailed, match="expected at most 1"):
        list(gates.table([row]))
