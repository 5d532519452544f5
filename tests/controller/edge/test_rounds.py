"""Looking at things when their time has come, and not before."""

from hypothesis import given
from hypothesis import strategies as st

from controller.edge.rounds import Rounds


def test_a_thing_is_looked_at_once_and_at_most_a_step_late() -> None:
    rounds: Rounds[str] = Rounds(step_s=0.5, at=100.0)
    rounds.put("a", 101.2)
    assert rounds.due(101.2) == []
    assert rounds.due(101.5) == ["a"]
    assert rounds.due(200.0) == []


def test_what_was_due_before_is_looked_at_in_the_next_step() -> None:
    rounds: Rounds[str] = Rounds(step_s=1.0, at=100.0)
    rounds.put("a", 3.0)
    assert rounds.due(100.9) == []
    assert rounds.due(101.0) == ["a"]


def test_the_last_time_counts_whether_it_is_sooner_or_later() -> None:
    rounds: Rounds[str] = Rounds(step_s=1.0, at=0.0)
    rounds.put("sooner", 50.0)
    rounds.put("sooner", 2.0)
    rounds.put("later", 2.0)
    rounds.put("later", 5.0)
    assert rounds.due(4.0) == ["sooner"]
    assert rounds.due(100.0) == ["later"]


def test_what_is_dropped_is_not_looked_at_and_not_kept() -> None:
    rounds: Rounds[str] = Rounds(step_s=1.0, at=0.0)
    rounds.put("a", 2.0)
    rounds.drop("a")
    rounds.drop("never seen")
    assert rounds.due(10.0) == []
    assert not rounds._places


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 50)), max_size=40), st.lists(st.floats(0, 60), max_size=20))
def test_nothing_is_looked_at_early_and_nothing_is_forgotten(puts: list[tuple[int, float]], looks: list[float]) -> None:
    rounds: Rounds[int] = Rounds(step_s=0.7, at=0.0)
    wanted = dict(puts)
    for thing, at in puts:
        rounds.put(thing, at)
    for now in [*sorted(looks), 70.0]:
        found = rounds.due(now)
        assert len(found) == len(set(found))
        assert all(wanted.pop(thing) < now for thing in found)
        assert all(at > now - 2 * 0.7 for at in wanted.values())
    assert not wanted
