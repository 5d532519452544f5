"""How long a lane waits, as values."""

from controller.mqtt.connection import How
from controller.mqtt.limits import Limits
from controller.mqtt.retries import Retries

LIMITS = Limits()


def waits(*ends: tuple[How, float], chance: float = 1.0) -> list[float]:
    retries = Retries(LIMITS)
    return [retries.wait_s(how, lived_s=lived_s, chance=chance) for how, lived_s in ends]


def test_failures_double_the_ceiling_up_to_a_minute() -> None:
    assert waits(*[(How.UNREACHABLE, 0.0)] * 8) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_wait_is_anything_below_the_ceiling() -> None:
    assert waits(*[(How.UNREACHABLE, 0.0)] * 3, chance=0.0) == [0, 0, 0]


def test_a_connection_that_lasted_begins_anew() -> None:
    assert waits((How.UNREACHABLE, 0), (How.UNREACHABLE, 0), (How.LOST, 60.0), (How.UNREACHABLE, 0)) == [1, 2, 1, 2]


def test_one_that_ended_early_does_not() -> None:
    assert waits((How.UNREACHABLE, 0), (How.LOST, 0.1), (How.UNREACHABLE, 0.0)) == [1, 2, 4]


def test_early_losses_in_a_row_are_taken_for_a_takeover() -> None:
    assert waits(*[(How.LOST, 0.1)] * 4) == [1, 2, 120, 4]
    assert waits((How.LOST, 0.1), (How.LOST, 0.1), (How.LOST, 60.0), (How.LOST, 0.1)) == [1, 2, 1, 2]


def test_what_was_never_accepted_lies_between_early_losses_and_changes_nothing() -> None:
    """NATS keeps who comes again within a second out, without a word."""
    early, dropped = (How.LOST, 0.1), (How.LOST, 0.0)
    assert waits(early, dropped, early, dropped, early) == [1, 2, 4, 8, 120]


def test_a_broker_that_goes_away_again_and_again_is_not_taken_for_somebody_else() -> None:
    assert waits(*[(How.LOST, 0.1), (How.UNREACHABLE, 0.0)] * 3) == [1, 2, 4, 8, 16, 32]


def test_takeovers_wait_for_minutes_and_longer_each_time() -> None:
    assert waits(*[(How.TAKEN_OVER, 1.0)] * 7) == [120, 240, 480, 960, 1_920, 3_600, 3_600]
    assert waits((How.TAKEN_OVER, 1.0), chance=0.0) == [60]


def test_an_hour_of_peace_forgives_takeovers() -> None:
    assert waits((How.TAKEN_OVER, 1.0), (How.TAKEN_OVER, 3_600.0)) == [120, 120]
