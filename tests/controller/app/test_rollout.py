"""A run from its start to its end, as operators and devices see it."""

import pytest

from controller.app import runs
from controller.app.errors import Conflict, InvalidRequest, NotFound
from controller.domain.pipeline import (
    FailureLimit,
    Gate,
    OnBreach,
    OnFailure,
    Pace,
    Retry,
    Targets,
    Timeouts,
    Trigger,
)
from protocol.ids import StageName, device_id
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Mode, WorkInHand
from protocol.reasons import Reason, RejectCode
from protocol.units import HOUR, MINUTE, SECOND, Instant
from tests.controller.app.rig import Rig, stage

EU, US = {"region": "eu"}, {"region": "us"}


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", region="eu")
    rig.enrol("c", "d", region="us")
    return rig


def test_a_run_that_ends_at_once_has_not_ended_before_it_began(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def now() -> Instant:
        rig.clock.time = Instant(rig.clock.time + 1)
        return rig.clock.time

    monkeypatch.setattr(rig.clock, "now", now)
    view = rig.view(rig.start(stage(targets=Targets(labels={"region": "nowhere"}))))
    assert view.ended_at is not None
    assert view.created_at <= view.ended_at


def test_a_run_over_connected_devices_succeeds(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage())

    assert rig.counters(run) == {"in_progress": 4}
    rig.succeed("a", "b", "c", "d")

    assert rig.view(run).state == "succeeded"
    assert rig.counters(run) == {"succeeded": 4}


def test_offline_devices_are_released_when_they_say_hello(rig: Rig) -> None:
    run = rig.start(stage())
    assert rig.counters(run) == {"queued": 4}
    assert rig.target(run, "a").waits_for == "the device is offline"

    rig.connect("a")

    assert rig.counters(run) == {"queued": 3, "in_progress": 1}
    assert rig.last("a")[1].op == "install"


def test_no_more_devices_than_the_pace_allows_are_at_work(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage(pace=Pace(max_in_flight=2)))

    assert rig.counters(run) == {"queued": 2, "in_progress": 2}
    at_work = [name for name in "abcd" if rig.devices[name].commands]
    rig.succeed(at_work[0])

    assert rig.counters(run) == {"queued": 1, "in_progress": 2, "succeeded": 1}


def test_stages_open_one_after_the_other_and_in_parallel(rig: Rig) -> None:
    rig.enrol("x", ring="canary")
    rig.connect("a", "b", "c", "d", "x")
    canary = StageName("canary")
    run = rig.start(
        stage("canary", targets=Targets(labels={"ring": "canary"})),
        stage("eu", needs=(canary,), targets=Targets(labels=EU)),
        stage("us", needs=(canary,), targets=Targets(labels=US)),
        stage("rest", needs=(StageName("eu"), StageName("us")), allow_empty=True),
    )
    assert [s.state for s in rig.view(run).stages] == ["rolling_out", "blocked", "blocked", "blocked"]

    rig.succeed("x")
    assert [s.state for s in rig.view(run).stages] == ["passed", "rolling_out", "rolling_out", "blocked"]

    rig.succeed("a", "b", "c", "d")
    assert [s.state for s in rig.view(run).stages] == ["passed", "passed", "passed", "skipped"]
    assert rig.view(run).state == "succeeded"


def test_a_manual_stage_waits_for_its_promotion(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage(trigger=Trigger.MANUAL))
    assert rig.view(run).waiting

    rig.do(runs.promote, run=run, stage="all")

    assert rig.counters(run) == {"in_progress": 4}
    assert not rig.view(run).waiting
    rig.do(runs.promote, run=run, stage="all")
    assert rig.counters(run) == {"in_progress": 4}


def test_a_stage_that_is_not_there_yet_cannot_be_promoted(rig: Rig) -> None:
    run = rig.start(stage("one", trigger=Trigger.MANUAL), stage("two", needs=(StageName("one"),)))

    with pytest.raises(Conflict, match="does not await promotion"):
        rig.do(runs.promote, run=run, stage="two")
    with pytest.raises(NotFound, match="has no stage 'three'; it has one, two"):
        rig.do(runs.promote, run=run, stage="three")


def test_failures_beyond_the_limit_stop_the_run_and_call_devices_back(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    gate = Gate(failures=FailureLimit(count=0))
    run = rig.start(stage(gate=gate, pace=Pace(max_in_flight=3)), stage("later", needs=(StageName("all"),)))
    at_work = [name for name in "abcd" if rig.devices[name].commands]

    rig.fail(at_work[0])

    view = rig.view(run)
    assert [s.state for s in view.stages] == ["failed", "cancelled"]
    assert rig.counters(run) == {"in_progress": 2, "failed": 1, "cancelled": 1}
    assert [rig.last(name)[1].op for name in at_work[1:]] == ["cancel", "cancel"]
    for name in at_work[1:]:
        rig.report(name, AttemptState.CANCELLED, reason=Reason.CANCELLED, left=Left.OLD)
    assert rig.view(run).state == "failed"
    assert rig.view(run).reason == "stage all failed: 1 of 1 started device failed"


def test_a_recalled_device_that_never_accepted_says_so_and_is_done(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage())
    rig.do(runs.terminate, run=run, reason="wrong version")
    assert rig.view(run).state == "terminating"

    for name in "abcd":
        rig.report(name, AttemptState.ACCEPTED, command=rig.last(name), attempt=0)

    assert rig.view(run).state == "terminated"
    assert rig.counters(run) == {"cancelled": 4}


def test_a_recalled_device_that_stays_silent_is_given_up(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage())
    rig.do(runs.terminate, run=run, reason="wrong version")

    rig.sleep(MINUTE)

    assert rig.view(run).state == "terminated"
    assert rig.counters(run) == {"cancelled": 4}


def test_a_failed_branch_stops_alone(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    gate = Gate(failures=FailureLimit(count=0))
    run = rig.start(
        stage("eu", targets=Targets(labels=EU), gate=gate, on_failure=OnFailure.STOP_BRANCH),
        stage("us", targets=Targets(labels=US)),
        stage("eu-rest", needs=(StageName("eu"),), allow_empty=True),
    )

    rig.fail("a", "b")
    rig.succeed("c", "d")

    assert [s.state for s in rig.view(run).stages] == ["failed", "passed", "cancelled"]
    assert rig.view(run).state == "failed"


def test_pause_is_a_fence_and_resume_goes_on(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage(pace=Pace(max_in_flight=2)))
    at_work = [name for name in "abcd" if rig.devices[name].commands]
    rig.report(at_work[0], AttemptState.DOWNLOADING)

    view = rig.do(runs.pause, run=run, reason="doubt")
    assert (view.paused, view.epoch) == (True, 2)
    assert [rig.last(name)[1].op for name in at_work] == ["hold", "hold"]
    written = len(rig.wire.written)
    rig.sleep(2 * HOUR)
    rig.succeed(at_work[0])
    assert {kind for _, kind, _ in rig.wire.written[written:]} <= {"ack"}

    view = rig.do(runs.resume, run=run)
    assert (view.paused, view.epoch) == (False, 3)
    _, renewed = rig.last(at_work[1])
    assert (renewed.op, renewed.attempt, renewed.epoch) == ("install", 1, 3)
    assert rig.counters(run) == {"queued": 1, "in_progress": 2, "succeeded": 1}


def test_the_end_of_an_attempt_closes_a_newer_command_for_it(rig: Rig) -> None:
    """A device may end by its first command while a second one is under way."""
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=(device_id("a"),))))
    first = rig.last_install("a")
    rig.lose("a")
    rig.do(runs.pause, run=run, reason="wait")
    rig.do(runs.resume, run=run)
    rig.report("a", AttemptState.SUCCEEDED, left=Left.NEW, command=first)
    assert rig.counters(run) == {"succeeded": 1}
    assert rig.wait(rig.store.read(lambda tx: (tx.commands.next_due(), tx.commands.unsent_count()))) == (None, 0)


def test_resume_renews_the_permission_of_devices_at_work(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage())
    rig.report("a", AttemptState.DOWNLOADING)
    rig.do(runs.pause, run=run, reason="doubt")
    rig.sleep(HOUR)

    rig.do(runs.resume, run=run)

    _, go = rig.last("a")
    assert (go.op, go.epoch) == ("go", 3)
    assert go.not_after > rig.clock.time


def test_pausing_twice_for_one_reason_is_once(rig: Rig) -> None:
    run = rig.start(stage())

    first = rig.do(runs.pause, run=run, reason="doubt")
    second = rig.do(runs.pause, run=run, reason="doubt")

    assert first == second


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_pause_needs_a_reason(rig: Rig, reason: str) -> None:
    run = rig.start(stage())

    with pytest.raises(InvalidRequest, match="expected a reason"):
        rig.do(runs.pause, run=run, reason=reason)


def test_a_breach_may_pause_instead_and_is_latched(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    gate = Gate(failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE, success_percent=50)
    run = rig.start(stage(gate=gate, pace=Pace(max_in_flight=1)))
    first = next(name for name in "abcd" if rig.devices[name].commands)

    rig.fail(first)
    assert rig.view(run).pause_reasons == ("breach:all",)
    with pytest.raises(Conflict, match="resume with override"):
        rig.do(runs.resume, run=run)

    rig.do(runs.resume, run=run, override=True, reason="known fault of that device")
    assert rig.counters(run) == {"queued": 2, "in_progress": 1, "failed": 1}


def test_devices_that_a_pause_holds_say_that_they_wait_for_its_end(rig: Rig) -> None:
    rig.connect("a", "b", "c")
    run = rig.start(stage(pace=Pace(max_in_flight=3)))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.report("b", AttemptState.INSTALLING)
    rig.do(runs.pause, run=run, reason="a look at it")
    waits = {device: rig.target(run, device).waits_for for device in "abcd"}
    assert waits == {"a": "the run is paused", "b": "", "c": "the run is paused", "d": "the run is paused"}

    rig.do(runs.resume, run=run, reason="seen")
    waits = {device: rig.target(run, device).waits_for for device in "abcd"}
    assert waits == {"a": "", "b": "", "c": "", "d": "the device is offline"}


def test_only_one_run_of_a_job_is_active(rig: Rig) -> None:
    rig.start(stage())

    with pytest.raises(Conflict, match=r"has an active run, r\w+: "):
        rig.do(runs.start, job="job")


def test_a_device_is_at_work_in_one_run_only(rig: Rig) -> None:
    from controller.app import jobs
    from controller.domain.pipeline import Operation
    from tests.controller.app.rig import APP

    rig.connect("a", "b", "c", "d")
    first = rig.start(stage(targets=Targets(labels=EU)))
    rig.do(jobs.create, name="other", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    second = rig.do(runs.start, job="other").id
    assert rig.counters(second) == {"queued": 2}

    rig.succeed("a")

    assert rig.counters(first) == {"in_progress": 1, "succeeded": 1}
    assert rig.counters(second) == {"queued": 1, "in_progress": 1}


def test_a_failure_of_the_network_is_tried_again_after_a_wait(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=("a",)), retry=Retry(attempts_max=2, backoff_ms=SECOND)))  # type: ignore[arg-type]

    rig.fail("a", reason=Reason.DOWNLOAD_FAILED)
    assert rig.target(run, "a").waits_for == "waiting to try again"
    rig.sleep(2 * SECOND)
    assert rig.last("a")[1].attempt == 2
    rig.fail("a", reason=Reason.DOWNLOAD_FAILED)

    assert rig.counters(run) == {"failed": 1}
    assert rig.view(run).stages[0].failures == 0


def test_a_device_that_never_accepts_gets_the_same_bytes_again(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=("a",))))  # type: ignore[arg-type]

    rig.sleep(MINUTE)

    digests = {digest for digest, _ in rig.devices["a"].commands}
    assert len(digests) == 1
    assert len(rig.devices["a"].commands) >= 2
    assert rig.counters(run) == {"in_progress": 1}


def test_a_device_that_reconnects_gets_what_it_never_heard(rig: Rig) -> None:
    rig.connect("a")
    rig.start(stage(targets=Targets(devices=("a",))))  # type: ignore[arg-type]
    digest, _ = rig.last("a")
    rig.devices["a"].commands.clear()
    rig.lose("a")

    rig.connect("a")

    assert [d for d, _ in rig.devices["a"].commands] == [digest]


def test_a_refusal_that_time_cures_makes_a_new_command_for_the_same_attempt(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=("a",))))  # type: ignore[arg-type]
    old, _ = rig.last("a")

    rig.refuse("a", RejectCode.BUSY)
    rig.sleep(6 * SECOND)

    new, command = rig.last("a")
    assert new != old
    assert command.attempt == 1
    rig.succeed("a")
    assert rig.view(run).state == "succeeded"


def test_any_other_refusal_fails_the_device_and_blames_no_build(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=("a",))))  # type: ignore[arg-type]

    rig.refuse("a", RejectCode.RELEASE_ROLLBACK)

    assert rig.counters(run) == {"failed": 1}
    assert rig.target(run, "a").detail == "release-rollback"
    assert rig.view(run).stages[0].failures == 0


def test_a_silent_device_is_timed_out_after_its_lease_and_blames_the_build(rig: Rig) -> None:
    rig.connect("a")
    timeouts = Timeouts(lease_ms=10 * MINUTE)
    run = rig.start(stage(targets=Targets(devices=("a",)), timeouts=timeouts))  # type: ignore[arg-type]
    rig.report("a", AttemptState.INSTALLING)

    rig.sleep(11 * MINUTE)

    assert rig.counters(run) == {"timed_out": 1}
    assert rig.target(run, "a").reason == Reason.SILENT_IN_INSTALL
    assert rig.view(run).stages[0].failures == 1


def test_a_stage_whose_time_is_over_gives_up_devices_that_never_came(rig: Rig) -> None:
    run = rig.start(stage(timeouts=Timeouts(stage_ms=HOUR)))

    rig.sleep(HOUR + MINUTE)

    assert rig.counters(run) == {"timed_out": 4}
    assert rig.target(run, "a").reason == Reason.NEVER_STARTED
    assert rig.view(run).state == "timed_out"


def test_a_stage_may_pass_with_a_tail_of_stragglers(rig: Rig) -> None:
    rig.connect("a", "b", "c")
    gate = Gate(success_percent=75, straggler_after_ms=HOUR)
    run = rig.start(stage(gate=gate), stage("next", needs=(StageName("all"),), allow_empty=True))
    rig.succeed("a", "b", "c")
    assert [s.state for s in rig.view(run).stages] == ["rolling_out", "blocked"]

    rig.sleep(HOUR + SECOND)
    assert [s.state for s in rig.view(run).stages] == ["passed", "skipped"]
    assert rig.view(run).state == "running"

    rig.connect("d")
    rig.succeed("d")
    assert rig.view(run).state == "succeeded"


def test_a_soak_lets_late_failures_count(rig: Rig) -> None:
    rig.connect("a", "b", "c", "d")
    run = rig.start(stage(gate=Gate(soak_ms=HOUR)))
    rig.succeed("a", "b", "c", "d")
    assert rig.view(run).stages[0].state == "soaking"

    rig.sleep(HOUR + SECOND)

    assert rig.view(run).state == "succeeded"


def test_a_hello_tells_a_device_that_its_run_is_held(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=("a",))))  # type: ignore[arg-type]
    rig.report("a", AttemptState.DOWNLOADING)
    rig.lose("a")
    rig.do(runs.pause, run=run, reason="doubt")
    digest, command = rig.last_install("a")
    work = WorkInHand(command=digest, run=command.run, attempt=1, state=AttemptState.DOWNLOADING, epoch=command.epoch)

    rig.connect("a", work=work)
    permit = rig.devices["a"].replies[-1].work
    assert permit is not None
    assert (permit.mode, permit.epoch) == (Mode.HOLD, 2)

    rig.lose("a")
    rig.do(runs.resume, run=run)
    rig.connect("a", work=work)
    assert rig.last("a")[1].op == "go"


def test_work_that_is_no_longer_wanted_is_called_back_at_the_hello(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(targets=Targets(devices=("a",))))  # type: ignore[arg-type]
    digest, command = rig.last_install("a")
    rig.lose("a")
    rig.do(runs.terminate, run=run, reason="wrong version")
    rig.sleep(MINUTE)
    work = WorkInHand(command=digest, run=command.run, attempt=1, state=AttemptState.DOWNLOADING, epoch=1)

    rig.connect("a", work=work)

    permit = rig.devices["a"].replies[-1].work
    assert permit is not None
    assert permit.mode is Mode.CANCEL
