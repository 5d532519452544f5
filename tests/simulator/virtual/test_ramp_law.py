"""How the law of ramps measures a soak."""

from simulator.virtual.laws.ramps import RunTime


def test_what_a_clock_that_went_back_shows_again_has_passed_twice() -> None:
    clock = RunTime()
    assert clock.passed(600) == 600
    assert clock.passed(0) == 600, "the controller died, and knows of no heartbeat"
    assert clock.passed(500) == 1_100
    assert clock.passed(10_500) == 11_100
