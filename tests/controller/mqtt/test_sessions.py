"""Who has a session, as values."""

from controller.mqtt.sessions import Sessions
from protocol.ids import PARTITIONS, Name, partition_of
from tests.controller.edge.world import D1, D2


def begun(sessions: Sessions, name: Name) -> int:
    number = sessions.expect(name)
    sessions.begin(name, number)
    return number


def test_each_hello_begins_a_session_with_a_number_of_its_own() -> None:
    sessions = Sessions()
    assert [begun(sessions, name) for name in (D1, D2, D1)] == [1, 2, 3]
    assert (sessions.of(D1), sessions.of(D2), len(sessions)) == (3, 2, 2)


def test_a_hello_that_is_being_stored_is_no_session_yet() -> None:
    sessions = Sessions()
    number = sessions.expect(D1)
    assert (sessions.of(D1), sessions.newest(D1)) == (0, number)
    sessions.refuse(D1, number)
    assert (sessions.of(D1), sessions.newest(D1)) == (0, 0)


def test_a_refused_hello_leaves_the_session_before_it() -> None:
    sessions = Sessions()
    older, refused = begun(sessions, D1), sessions.expect(D1)
    sessions.refuse(D1, refused)
    assert sessions.of(D1) == older


def test_a_block_also_ends_what_a_hello_was_to_begin() -> None:
    sessions = Sessions()
    begun(sessions, D1)
    coming = sessions.expect(D1)
    sessions.end(D1, sessions.newest(D1))
    sessions.begin(D1, coming)
    assert (sessions.of(D1), len(sessions)) == (0, 0)


def test_a_will_that_comes_late_leaves_a_newer_session_alone() -> None:
    sessions = Sessions()
    first, second = begun(sessions, D1), begun(sessions, D1)
    sessions.end(D1, first)
    assert sessions.of(D1) == second


def test_hellos_stored_out_of_order_leave_the_newest() -> None:
    sessions = Sessions()
    first, second = sessions.expect(D1), sessions.expect(D1)
    sessions.begin(D1, second)
    sessions.begin(D1, first)
    assert sessions.of(D1) == second


def test_sight_is_lost_of_some_partitions() -> None:
    sessions = Sessions()
    for name in (D1, D2):
        begun(sessions, name)
    sessions.forget({partition_of(D1)})
    assert (sessions.of(D1), sessions.of(D2)) == (0, 2)


def test_a_hello_that_is_being_stored_survives_the_loss_of_sight() -> None:
    """It is stored after the loss was noted; without a session nothing would ever be sent to that device."""
    sessions = Sessions()
    number = sessions.expect(D1)
    sessions.forget(range(PARTITIONS))
    sessions.begin(D1, number)
    assert sessions.of(D1) == number
    sessions.forget(range(PARTITIONS))
    assert sessions.of(D1) == 0
