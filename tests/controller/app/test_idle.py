"""A device that was thought at work, and says that it has none: its attempt is not waited for until the lease ends."""

from collections.abc import Iterator
from typing import Any

import pytest

from controller.app import runs
from controller.domain.pipeline import Gate, Retry, Timeouts
from controller.domain.target import IDLE_MS
from protocol.lifecycle import AttemptState, Left
from protocol.messages import WorkInHand
from protocol.units import HOUR, SECOND
from tests.controller.app.rig import Rig, stage

SLOW = Timeouts(accept_ms=HOUR, lease_ms=HOUR)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    yield rig
    rig.close()


def installing(rig: Rig, **fields: Any) -> str:
    """Return a run whose device has said that it installs."""
    given: dict[str, Any] = {"timeouts": SLOW, "retry": Retry(attempts_max=1), "gate": Gate(success_percent=0)}
    run = rig.start(stage(**(given | fields)))
    rig.report("a", AttemptState.INSTALLING)
    return run


def in_hand(rig: Rig) -> WorkInHand:
    digest, command = rig.last_install("a")
    return WorkInHand(
        command=digest, run=command.run, attempt=command.attempt, state=AttemptState.INSTALLING, epoch=command.epoch
    )


def test_an_attempt_whose_work_is_no_more_ends_long_before_its_lease(rig: Rig) -> None:
    run = installing(rig)
    rig.connect("a")
    rig.sleep(IDLE_MS - SECOND)
    assert rig.counters(run) == {"in_progress": 1}
    rig.sleep(SECOND)
    end = rig.target(run, "a")
    assert (end.state, end.reason) == ("timed_out", "lease_ended")
    assert rig.view(run).stages[0].failures == 0


def test_it_is_tried_again(rig: Rig) -> None:
    run = installing(rig, retry=Retry(attempts_max=2, backoff_ms=SECOND))
    rig.connect("a")
    rig.sleep(IDLE_MS + 2 * SECOND)
    assert rig.last("a")[1].attempt == 2
    rig.succeed("a")
    assert rig.counters(run) == {"succeeded": 1}


def test_a_recalled_device_without_work_is_soon_done(rig: Rig) -> None:
    run = installing(rig)
    rig.do(runs.terminate, run=run, reason="enough")
    rig.connect("a", seq=rig.last("a")[1].seq)
    rig.sleep(IDLE_MS)
    assert rig.view(run).state == "terminated"
    assert rig.target(run, "a").state == "cancelled"


def test_a_success_that_was_on_its_way_counts(rig: Rig) -> None:
    run = installing(rig)
    rig.connect("a")
    rig.sleep(IDLE_MS - SECOND)
    rig.report("a", AttemptState.SUCCEEDED, left=Left.NEW)
    rig.sleep(2 * SECOND)
    assert rig.counters(run) == {"succeeded": 1}


def test_a_success_that_comes_later_is_noted(rig: Rig) -> None:
    run = installing(rig)
    rig.connect("a")
    rig.sleep(IDLE_MS)
    rig.report("a", AttemptState.SUCCEEDED, left=Left.NEW)
    row = rig.wait(rig.store.read(lambda tx: tx.targets.find(1, 1)))
    assert row.target.late_success_at is not None
    assert rig.counters(run) == {"timed_out": 1}


def test_work_in_hand_is_left_its_lease(rig: Rig) -> None:
    run = installing(rig)
    rig.connect("a")
    rig.connect("a", work=in_hand(rig))
    rig.sleep(30 * IDLE_MS)
    assert rig.counters(run) == {"in_progress": 1}


def test_work_of_an_earlier_attempt_is_not_that_of_this_one(rig: Rig) -> None:
    run = installing(rig, retry=Retry(attempts_max=2, backoff_ms=SECOND))
    old = in_hand(rig)
    rig.connect("a")
    rig.sleep(IDLE_MS + 2 * SECOND)
    rig.report("a", AttemptState.INSTALLING)
    rig.connect("a", work=old)
    rig.sleep(IDLE_MS)
    assert rig.target(run, "a").state == "timed_out"


def test_a_hello_from_before_the_command_says_nothing(rig: Rig) -> None:
    run = installing(rig)
    rig.connect("a", seq=rig.last("a")[1].seq - 1)
    rig.sleep(30 * IDLE_MS)
    assert rig.counters(run) == {"in_progress": 1}


def test_a_pause_takes_nothing_of_the_time_that_a_report_is_given(rig: Rig) -> None:
    run = installing(rig)
    rig.connect("a")
    rig.do(runs.pause, run=run, reason="lunch")
    rig.sleep(30 * IDLE_MS)
    assert rig.counters(run) == {"in_progress": 1}
