"""Who has a session, as values."""

from controller.mqtt.sessions import Sessions
from protocol.ids import PARTITIONS, partition_of
from tests.controller.edge.world import D1, D2


def test_each_hello_begins_a_session_with_a_number_of_its_own() -> None:
    sessions = Sessions()
    numbers = [sessions.begin(name) for name in (D1, D2, D1)]
    assert numbers == [1, 2, 3]
    assert (sessions.of(D1), sessions.of(D2), len(sessions)) == (3, 2, 2)


def test_a_refused_hello_ends_its_own_session_alone() -> None:
    sessions = Sessions()
    refused = sessions.begin(D1)
    newer = sessions.begin(D1)
    sessions.settle(D1, refused, is_stored=False)
    assert sessions.of(D1) == newer


def test_sight_is_lost_of_some_partitions() -> None:
    sessions = Sessions()
    for name in (D1, D2):
        sessions.settle(name, sessions.begin(name), is_stored=True)
    sessions.forget({partition_of(D1)})
    assert (sessions.of(D1), sessions.of(D2)) == (0, 2)


def test_a_hello_that_is_being_stored_survives_the_loss_of_sight() -> None:
    """It may be stored after the loss was noted; without a session nothing would ever be sent to that device."""
    sessions = Sessions()
    number = sessions.begin(D1)
    sessions.forget(range(PARTITIONS))
    sessions.settle(D1, number, is_stored=True)
    assert sessions.of(D1) == number
    sessions.forget(range(PARTITIONS))
    assert sessions.of(D1) == 0
