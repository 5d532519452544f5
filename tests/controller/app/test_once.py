"""One effect and one answer for each Idempotency-Key."""

import pytest

from controller.app import devices, groups, restraining, runs, standstill, system, tokens, wakeups
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import Conflict, KeyReused, NotFound
from controller.app.once import KEPT_MS
from protocol.units import MINUTE, SECOND, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import Rig, stage


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    return rig


def caller(key: str = "k1", fingerprint: str = "f1", name: str = "ann") -> Actor:
    return Actor(name=name, role=Role.ADMIN, request=RequestKey(key=key, fingerprint=fingerprint))


def verbs(rig: Rig) -> list[str]:
    return [entry.verb for entry in rig.do(system.audit)]


def test_a_request_that_comes_twice_has_one_effect_and_one_answer(rig: Rig) -> None:
    run = rig.start(stage())
    first = rig.do(runs.pause, caller(), run=run, reason="lunch")
    rig.do(runs.resume, run=run)

    again = rig.do(runs.pause, caller(), run=run, reason="lunch")

    assert again == first
    assert again.paused
    assert not rig.view(run).paused
    assert verbs(rig).count("run.pause") == 1


def test_a_start_that_comes_twice_starts_one_run(rig: Rig) -> None:
    run = rig.start(stage())
    job = rig.view(run).job
    rig.succeed("a")

    first = rig.do(runs.start, caller(), job=job)
    rig.new_controller()

    assert rig.do(runs.start, caller(), job=job) == first
    assert len(rig.do(runs.list_runs).items) == 2


def test_a_key_is_its_callers_own(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(runs.pause, caller(), run=run, reason="lunch")
    rig.do(runs.resume, run=run)
    assert rig.do(runs.pause, caller(name="bob"), run=run, reason="lunch").epoch == 4


def test_a_key_does_not_serve_another_request(rig: Rig) -> None:
    rig.do(standstill.stop, caller(), reason="smoke")
    with pytest.raises(KeyReused, match="k1"):
        rig.do(standstill.lift, caller(fingerprint="f2"), reason="out")
    assert rig.do(standstill.get).stopped


def test_what_failed_leaves_no_answer(rig: Rig) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            rig.do(runs.pause, caller(), run="r-none", reason="lunch")
    run = rig.start(stage())
    assert rig.do(runs.pause, caller(), run=run, reason="lunch").paused


def test_a_secret_is_made_once_and_not_kept(rig: Rig) -> None:
    rig.do(tokens.create, caller(), name="ci", role=Role.RELEASER, expires_at=None)
    with pytest.raises(Conflict, match="shown once"):
        rig.do(tokens.create, caller(), name="ci", role=Role.RELEASER, expires_at=None)
    assert len(rig.do(tokens.list_tokens)) == 1


def test_answers_are_forgotten_after_a_day(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(runs.pause, caller(), run=run, reason="lunch")
    rig.clock.time += KEPT_MS + 60 * SECOND  # type: ignore[assignment]
    run_now(wakeups.look(rig.controller))
    rig.do(runs.resume, run=run)

    assert rig.do(runs.pause, caller(), run=run, reason="lunch").paused
    assert rig.view(run).paused


def test_a_group_that_is_made_twice_by_one_key_is_made_once(rig: Rig) -> None:
    first = rig.do(groups.create, caller(), path="eu")
    assert rig.do(groups.create, caller(), path="eu") == first
    assert verbs(rig).count("group.create") == 1


def test_devices_that_are_added_twice_by_one_key_are_added_once(rig: Rig) -> None:
    rig.do(groups.create, path="eu")
    first = rig.do(groups.add_devices, caller(), path="eu", devices=["a"])
    rig.do(groups.drop_devices, path="eu", devices=["a"])
    assert rig.do(groups.add_devices, caller(), path="eu", devices=["a"]) == first
    [group] = rig.do(groups.list_groups)
    assert group.devices == 0


def test_a_block_that_comes_again_by_its_key_does_not_block_again(rig: Rig) -> None:
    rig.do(devices.block, caller(), device="a", reason="lost")
    rig.do(devices.unblock, device="a", reason="found")
    rig.do(devices.block, caller(), device="a", reason="lost")
    assert verbs(rig).count("device.block") == 1


def test_a_hold_that_comes_again_after_its_end_is_answered_as_before(rig: Rig) -> None:
    end = later(rig.clock.time, MINUTE)
    first = rig.do(restraining.hold, caller(), device="a", reason="trade fair", until=end)
    rig.sleep(2 * MINUTE)

    assert rig.do(restraining.hold, caller(), device="a", reason="trade fair", until=end) == first
    with pytest.raises(KeyReused):
        rig.do(restraining.hold, caller(fingerprint="f2"), device="a", reason="trade fair", until=end)
