"""Runs that start by themselves: on a release in a channel, by a schedule, and after the run that was in their way."""

from typing import Any

import pytest

from controller.app import channels, hooks, jobs, pipelines, releases, runs, standstill, system, tokens, triggers
from controller.app.access import Actor, Role
from controller.app.conditions import Expected, job_tag
from controller.app.errors import InvalidRequest, NotAllowed, NotFound, PreconditionFailed
from controller.app.schedules import LATE_MS_MAX
from controller.app.views import ChannelView, JobView, RunView
from controller.documents import Kind, load_one
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.trigger import JobTrigger, OnRelease, OnSchedule
from protocol.ids import AppName
from protocol.units import DAY, HOUR, MINUTE, Instant
from tests.controller.app.rig import APP, START, Rig, stage

STABLE = OnRelease(channel="stable")
NIGHTLY = OnSchedule(cron="0 2 * * *", zone="Europe/Berlin")
# START is 2027-01-15 08:00 UTC; the next 2:00 in Berlin is 17 hours later.
FIRST_NIGHT = Instant(START + 17 * HOUR)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    rig.publish("1.0.0", 1)
    rig.publish("2.0.0", 2)
    rig.publish("3.0.0", 3)
    rig.do(pipelines.apply, definition=Pipeline(name="rollout", stages=(stage(),)))
    return rig


def job(rig: Rig, *wanted: JobTrigger, name: str = "job", app: str = APP) -> JobView:
    operation = Operation(app=APP if app == APP else app, version="1.0.0")  # type: ignore[arg-type]
    return rig.do(jobs.create, name=name, pipeline="rollout", operation=operation, triggers=wanted)


def assign(rig: Rig, version: str, channel: str = "stable") -> ChannelView:
    return rig.do(channels.add, app=APP, version=version, channel=channel)


def all_runs(rig: Rig) -> list[RunView]:
    """Return all runs, the oldest first."""
    return list(reversed(rig.do(runs.list_runs).items))


def entries(rig: Rig, *verbs: str) -> list[tuple[str, str, str]]:
    return [(e.actor, e.verb, e.reason) for e in rig.do(system.audit) if e.verb in verbs]


# --- channels ---


def test_a_release_in_a_channel_starts_the_jobs_that_wait_for_it(rig: Rig) -> None:
    job(rig, STABLE)
    job(rig, OnRelease(channel="beta"), name="other")
    job(rig, name="by-hand")

    view = assign(rig, "2.0.0")

    [run] = all_runs(rig)
    assert view.runs == (run.id,)
    assert (run.job, run.version, run.started_by) == ("job", "2.0.0", "trigger:channel stable")
    assert entries(rig, "channel.add", "run.start") == [
        ("ann", "channel.add", "stable"),
        ("trigger:channel stable", "run.start", "job 2.0.0"),
    ]
    assert rig.do(releases.list_releases)[1].channels == ("stable",)


def test_a_release_is_in_a_channel_once(rig: Rig) -> None:
    job(rig, STABLE)
    assign(rig, "2.0.0")
    rig.succeed("a")
    assert assign(rig, "2.0.0").runs == ()
    assert len(all_runs(rig)) == 1


def test_a_release_older_than_another_in_the_channel_starts_nothing(rig: Rig) -> None:
    assign(rig, "2.0.0")
    job(rig, STABLE)
    assert assign(rig, "1.0.0").runs == ()
    assert all_runs(rig) == []


def test_the_latest_release_waits_for_the_end_of_the_active_run(rig: Rig) -> None:
    job(rig, STABLE)
    [first] = assign(rig, "1.0.0").runs
    assert assign(rig, "2.0.0").runs == ()
    assert assign(rig, "3.0.0").runs == ()
    rig.sleep(MINUTE)
    assert [run.id for run in all_runs(rig)] == [first]
    waiting = rig.do(jobs.get, name="job").waiting
    assert waiting is not None
    assert waiting.version == "3.0.0"

    rig.succeed("a")
    rig.sleep(1)

    assert [run.version for run in all_runs(rig)] == ["1.0.0", "3.0.0"]
    assert rig.do(jobs.get, name="job").waiting is None
    assert entries(rig, "job.wait", "job.supersede") == [
        ("trigger:channel stable", "job.wait", f"2.0.0 waits for the end of {first}"),
        ("trigger:channel stable", "job.supersede", "2.0.0 of trigger:channel stable gives way to 3.0.0"),
        ("trigger:channel stable", "job.wait", f"3.0.0 waits for the end of {first}"),
    ]


def test_what_waits_is_not_forgotten_by_a_restart(rig: Rig) -> None:
    job(rig, STABLE)
    assign(rig, "1.0.0")
    assign(rig, "2.0.0")
    rig.succeed("a")
    rig.controller = rig.new_controller()
    rig.sleep(1)
    assert [run.version for run in all_runs(rig)] == ["1.0.0", "2.0.0"]


def test_a_run_that_starts_by_itself_during_a_standstill_begins_paused(rig: Rig) -> None:
    job(rig, STABLE)
    rig.do(standstill.stop, reason="smoke")
    assign(rig, "2.0.0")
    assert all_runs(rig)[0].paused


def test_a_job_that_cannot_start_says_so_and_keeps_nobody_else_from_starting(rig: Rig) -> None:
    rig.do(
        jobs.create, name="a-job", pipeline="rollout", operation=Operation(app=APP, version="9"), triggers=(NIGHTLY,)
    )
    job(rig, NIGHTLY)
    rig.sleep(DAY)
    assert [run.job for run in all_runs(rig)] == ["job"]
    [(actor, _, reason)] = entries(rig, "job.fail")
    assert actor == "trigger:schedule 0 2 * * * Europe/Berlin"
    assert "version '9' of 'shop' is not published" in reason


def test_a_release_leaves_its_channel(rig: Rig) -> None:
    assign(rig, "2.0.0")
    rig.do(channels.remove, app=APP, version="2.0.0", channel="stable")
    assert rig.do(releases.list_releases)[1].channels == ()
    with pytest.raises(NotFound, match="not in the channel"):
        rig.do(channels.remove, app=APP, version="2.0.0", channel="stable")
    assert [verb for _, verb, _ in entries(rig, "channel.add", "channel.remove")] == ["channel.add", "channel.remove"]


def test_a_channel_takes_published_releases_under_a_name(rig: Rig) -> None:
    with pytest.raises(NotFound, match="is not published"):
        assign(rig, "7.0.0")
    with pytest.raises(InvalidRequest, match="channel"):
        assign(rig, "1.0.0", "St able")


def test_who_may_not_control_runs_assigns_no_channel(rig: Rig) -> None:
    releaser = Actor(name="ci", role=Role.RELEASER)
    with pytest.raises(NotAllowed):
        rig.do(channels.add, releaser, app=APP, version="1.0.0", channel="stable")
    with pytest.raises(NotAllowed):
        rig.do(channels.remove, releaser, app=APP, version="1.0.0", channel="stable")


# --- schedules ---


def test_a_schedule_starts_a_run_at_its_instant(rig: Rig) -> None:
    assert job(rig, NIGHTLY).next_at == FIRST_NIGHT
    rig.sleep(17 * HOUR - 1)
    assert all_runs(rig) == []

    rig.sleep(1)

    [run] = all_runs(rig)
    assert (run.created_at, run.version) == (FIRST_NIGHT, "1.0.0")
    assert run.started_by == "trigger:schedule 0 2 * * * Europe/Berlin"
    assert rig.do(jobs.get, name="job").next_at == FIRST_NIGHT + DAY


def test_a_schedule_that_comes_while_a_run_is_active_is_left_out(rig: Rig) -> None:
    job(rig, NIGHTLY)
    rig.sleep(17 * HOUR)
    [run] = all_runs(rig)
    rig.do(runs.pause, run=run.id, reason="holidays")
    rig.sleep(2 * DAY)
    assert len(all_runs(rig)) == 1
    missed = entries(rig, "job.miss")
    assert len(missed) == 2
    assert missed[0][2] == f"2027-01-17 01:00:00Z: {run.id} was active"


def jump(rig: Rig, span_ms: int) -> None:
    """Let time pass in which no controller looks."""
    rig.clock.time = Instant(rig.clock.time + span_ms)
    rig.sleep(0)
    rig.sleep(1)


def test_a_schedule_that_was_missed_by_little_starts_once(rig: Rig) -> None:
    job(rig, OnSchedule(cron="*/10 * * * *"))
    jump(rig, HOUR - 5 * MINUTE)
    assert len(all_runs(rig)) == 1


def test_a_schedule_that_was_missed_by_much_is_noted_and_left_out(rig: Rig) -> None:
    job(rig, NIGHTLY)
    jump(rig, 17 * HOUR + LATE_MS_MAX + 1)
    assert all_runs(rig) == []
    assert rig.do(jobs.get, name="job").next_at == FIRST_NIGHT + DAY
    assert entries(rig, "job.miss") == [
        (
            "trigger:schedule 0 2 * * * Europe/Berlin",
            "job.miss",
            "2027-01-16 01:00:00Z was missed: nobody looked until 2027-01-16 02:00:00Z",
        )
    ]


def test_more_jobs_than_one_transaction_looks_after_all_start(rig: Rig) -> None:
    count = triggers.STARTS_MAX + 3
    for number in range(count):
        job(rig, NIGHTLY, name=f"job-{number}")
    rig.sleep(18 * HOUR)
    assert len(all_runs(rig)) == count


# --- setting them ---


def test_triggers_are_replaced_and_what_waits_is_forgotten(rig: Rig) -> None:
    job(rig, STABLE, NIGHTLY)
    assign(rig, "1.0.0")
    assign(rig, "2.0.0")

    view = rig.do(jobs.set_triggers, name="job", triggers=())
    rig.succeed("a")
    rig.sleep(2 * DAY)

    assert (view.triggers, view.next_at, view.waiting) == ((), None, None)
    assert len(all_runs(rig)) == 1
    assert entries(rig, "job.triggers") == [("ann", "job.triggers", "none")]


BAD: tuple[tuple[Any, str], ...] = (
    ((OnSchedule(cron="never"),), "5 fields"),
    ((OnSchedule(cron="0 2 * * *", zone="Mars"),), "Mars"),
    ((OnRelease(channel="St able"),), "channel"),
    ((STABLE,) * 9, "at most 8"),
)


@pytest.mark.parametrize(("wanted", "message"), BAD)
def test_what_is_no_trigger_is_refused(rig: Rig, wanted: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        job(rig, *wanted)
    job(rig)
    with pytest.raises(InvalidRequest, match=message):
        rig.do(jobs.set_triggers, name="job", triggers=wanted)


def test_setting_triggers_needs_a_job_and_a_permission(rig: Rig) -> None:
    with pytest.raises(NotFound):
        rig.do(jobs.set_triggers, name="none", triggers=())
    with pytest.raises(NotAllowed):
        rig.do(jobs.set_triggers, Actor(name="v", role=Role.VIEWER), name="job", triggers=())


# --- jobs that are edited and taken away ---


def written(*wanted: JobTrigger, version: str = "1.0.0", app: str = APP, priority: int = 0) -> dict[str, Any]:
    operation = Operation(app=AppName(app), version=version)
    return {"name": "job", "pipeline": "rollout", "operation": operation, "triggers": wanted, "priority": priority}


def test_an_edit_that_leaves_the_triggers_leaves_what_is_due(rig: Rig) -> None:
    before = job(rig, NIGHTLY, STABLE)
    rig.do(hooks.create, job="job")
    assign(rig, "1.0.0")
    assign(rig, "2.0.0")
    rig.sleep(HOUR)

    view = rig.do(jobs.apply, **written(NIGHTLY, STABLE, priority=3))

    assert (view.priority, view.next_at, view.has_hook) == (3, before.next_at, True)
    assert view == rig.do(jobs.get, name="job")
    rig.succeed("a")
    rig.sleep(1)
    assert [run.version for run in all_runs(rig)] == ["1.0.0", "2.0.0"]


def test_an_edit_replaces_the_triggers_that_are_written_in_the_job(rig: Rig) -> None:
    job(rig, STABLE)
    rig.do(hooks.create, job="job")
    assign(rig, "1.0.0")
    assign(rig, "2.0.0")

    view = rig.do(jobs.apply, **written(NIGHTLY))
    assert (view.triggers, view.next_at, view.waiting, view.has_hook) == ((NIGHTLY,), FIRST_NIGHT, None, True)

    view = rig.do(jobs.apply, **written())
    assert (view.triggers, view.next_at) == ((), None)
    rig.succeed("a")
    rig.sleep(2 * DAY)
    assert len(all_runs(rig)) == 1


def test_a_release_of_another_app_does_not_wait_for_a_job_any_more(rig: Rig) -> None:
    job(rig, STABLE)
    assign(rig, "1.0.0")
    assign(rig, "2.0.0")
    assert rig.do(jobs.apply, **written(STABLE, app="till")).waiting is None


def test_triggers_are_set_from_what_was_read(rig: Rig) -> None:
    seen = Expected(tags=(job_tag(job(rig)),))
    rig.do(jobs.set_triggers, name="job", triggers=(STABLE,), expected=seen)
    with pytest.raises(PreconditionFailed, match="job 'job' was changed meanwhile"):
        rig.do(jobs.set_triggers, name="job", triggers=(NIGHTLY,), expected=seen)
    with pytest.raises(PreconditionFailed):
        rig.do(jobs.apply, **written(NIGHTLY), expected=seen)
    assert rig.do(jobs.set_triggers, name="job", triggers=(STABLE,), expected=seen).triggers == (STABLE,)


def test_an_archived_job_starts_nothing_and_comes_back_without_its_triggers(rig: Rig) -> None:
    job(rig, STABLE, NIGHTLY)
    rig.do(hooks.create, job="job")
    rig.do(jobs.archive, name="job")

    assert assign(rig, "2.0.0").runs == ()
    rig.sleep(2 * DAY)
    assert all_runs(rig) == []
    with pytest.raises(NotFound):
        rig.do(jobs.set_triggers, name="job", triggers=())
    with pytest.raises(NotFound):
        rig.do(hooks.create, job="job")

    view = job(rig)
    assert (view.triggers, view.next_at, view.waiting, view.has_hook) == ((), None, None, False)
    assert assign(rig, "3.0.0").runs == ()
    rig.sleep(2 * DAY)
    assert all_runs(rig) == []


# --- what a pipeline leaves open ---

OPEN = """
name: rollout
parameters: {ring: {}, pace: {type: int, default: 1}}
inputs: {URL: {required: true}, LEVEL: {}}
env: {LEVEL: info}
stages: [{name: all, targets: {labels: {ring: '${ring}'}}, pace: {max_in_flight: '${pace}'}}]
"""


def open_job(rig: Rig, *wanted: JobTrigger, **parameters: Value) -> None:
    definition = load_one(OPEN, Kind.PIPELINE)
    assert isinstance(definition, Pipeline)
    rig.do(pipelines.apply, definition=definition)
    operation = Operation(app=APP, version="1.0.0", env={"URL": "https://x", "LEVEL": "warn"})
    rig.do(
        jobs.create, name="job", pipeline="rollout", operation=operation, triggers=wanted, parameters=dict(parameters)
    )
    rig.enrol("b", ring="two")
    rig.connect("b")


def test_a_run_that_starts_by_itself_takes_the_values_and_the_environment_of_its_job(rig: Rig) -> None:
    open_job(rig, STABLE, ring="two", pace=5)
    assign(rig, "2.0.0")
    [run] = all_runs(rig)
    assert (run.version, run.parameters) == ("2.0.0", {"ring": "two", "pace": 5})
    assert run.stages[0].max_in_flight == 5
    assert rig.last("b")[1].env == {"URL": "https://x", "LEVEL": "warn"}


def test_a_run_that_lacks_a_value_does_not_start_by_itself_and_says_why(rig: Rig) -> None:
    open_job(rig, NIGHTLY)
    rig.sleep(DAY)
    assert all_runs(rig) == []
    [(_, _, reason)] = entries(rig, "job.fail")
    assert "parameters.ring: a value is missing" in reason


def test_no_token_passes_for_a_trigger(rig: Rig) -> None:
    with pytest.raises(InvalidRequest, match="pass for a trigger"):
        rig.do(tokens.create, name="trigger:hook", role=Role.OPERATOR, expires_at=None)


def test_a_run_that_a_person_starts_says_who(rig: Rig) -> None:
    job(rig)
    assert rig.do(runs.start, job="job").started_by == "ann"
