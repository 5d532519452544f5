"""When a lane takes itself for taken over, and how long it waits."""

from typing import Final

import pytest

from controller.mqtt.connection import How
from controller.mqtt.limits import Limits
from controller.mqtt.retries import Retries

LIMITS: Final = Limits()
EARLY_S: Final = LIMITS.early_s / 5
LONG_S: Final = LIMITS.early_s * 2

Ends = list[tuple[How, float]]


def taken_over(*ends: tuple[How, float]) -> list[bool]:
    """Return after which of *ends* a lane takes itself for taken over; each is how, and after how long."""
    retries, found = Retries(LIMITS), []
    for how, lived_s in ends:
        retries.wait_s(how, lived_s=lived_s, chance=0.5)
        found.append(retries.is_taken_over)
    return found


def test_three_early_losses_in_a_row_are_a_takeover() -> None:
    assert taken_over(*[(How.LOST, EARLY_S)] * 4) == [False, False, True, False]


def test_a_try_that_the_broker_drops_unanswered_is_no_sign_of_peace() -> None:
    # So NATS treats whoever comes back to a client id that was taken a moment ago.
    ends = [(How.LOST, EARLY_S), (How.LOST, 0.0)] * 3
    assert taken_over(*ends) == [False, False, False, False, True, False]


@pytest.mark.parametrize("peace", [(How.LOST, LONG_S), (How.SILENT, LONG_S), (How.UNREACHABLE, 0.0)])
def test_a_connection_that_lasts_or_a_broker_that_is_away_begins_the_count_anew(peace: tuple[How, float]) -> None:
    early = (How.LOST, EARLY_S)
    assert not any(taken_over(early, early, peace, early, early, peace, early))
