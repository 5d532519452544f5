"""Why a device is not updated: every situation has an answer, and the most decisive fact comes first."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.admission import Blocked, BlockReason
from controller.domain.clock import RunClock
from controller.domain.counters import Tally
from controller.domain.freeze import Freeze
from controller.domain.model import Run, StageRun, create
from controller.domain.pipeline import Gate, Pace, Stage, Targets, Trigger
from controller.domain.query import Described
from controller.domain.query.explain import explain
from controller.domain.query.parser import parse
from controller.domain.rerun import Purpose, Source
from controller.domain.states import RunState, StageState
from controller.domain.target import Target, TargetState
from controller.domain.why import Case, Code, Rival, Subject, why
from protocol.ids import DeviceId
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from protocol.units import Instant
from tests.controller.domain.kit import plan, stage

AT = Instant(1_000_000)
KIOSK = Described(device="k", model="k2", labels={"region": "us"}, groups=frozenset({"us/boston"}))
ONLINE = Subject(described=KIOSK, is_online=True)
OFFLINE = Subject(described=KIOSK, is_online=False, last_seen_at=Instant(AT - 7_200_000))
replace = msgspec.structs.replace
OPEN = StageRun(state=StageState.ROLLING_OUT, is_frozen=True, opened_at=0, tally=Tally(queued=2, in_progress=1))
QUEUED = Target()
INSTALLING = Target(
    state=TargetState.IN_PROGRESS, attempt=1, attempt_state=AttemptState.INSTALLING, due=900, accepted_at=0
)


def case(*stages: Stage, states: list[StageRun] | None = None, device: Subject = ONLINE, **fields: Any) -> Case:
    """Return a case of a running run whose clock shows 500; what is not of a case is of the run."""
    definition = plan(*(stages or (stage("a"),)))
    clock = RunClock(base=500, since=AT)
    run = replace(create(definition), state=RunState.RUNNING, clock=clock)
    of_run = {name: fields.pop(name) for name in list(fields) if name in Run.__struct_fields__}
    if states is not None:
        run = replace(run, stages=tuple(states))
    return Case(at=AT, device=device, plan=definition, run=replace(run, **of_run), **fields)


def told(case: Case) -> list[tuple[str, str]]:
    return [(fact.code.value, fact.text) for fact in why(case)]


ENDS = [
    (Target(state=TargetState.SUCCEEDED, attempt=1), "it succeeded in stage a"),
    (
        Target(state=TargetState.FAILED, attempt=1, reason=Reason.VERIFY_FAILED, detail="exit 3", left=Left.BROKEN),
        "it failed in stage a: verify_failed (exit 3); it was left broken",
    ),
    (
        Target(state=TargetState.TIMED_OUT, reason=Reason.NEVER_STARTED, late_success_at=9),
        "it timed out in stage a: never_started; its success came later",
    ),
    (Target(state=TargetState.REMOVED, detail="sold"), "it was removed in stage a (sold)"),
]


@pytest.mark.parametrize(("part", "text"), ENDS)
def test_an_end_is_the_whole_answer(part: Target, text: str) -> None:
    assert told(case(part=part, states=[OPEN], device=OFFLINE, pause_reasons=("x",))) == [("ended", text)]


def test_a_device_at_work_says_what_it_does_and_until_when() -> None:
    [fact] = why(case(part=INSTALLING, states=[OPEN], last_heard_at=Instant(AT - 12_000)))
    assert fact.text == "it is at work in stage a: installing, attempt 1 of 3, last heard of 12 s ago"
    assert fact.until == AT + 400


def test_a_device_that_is_called_back_says_so_first() -> None:
    part = replace(INSTALLING, cancel_requested=True, is_idle=True)
    found = told(case(part=part, states=[OPEN], state=RunState.TERMINATING, reason="enough", device=OFFLINE))
    assert [code for code, _ in found] == ["called_back", "at_work", "stopping", "offline"]
    assert found[1][1].endswith("it says that it has no work, and its end is waited for")
    assert found[3][1] == "it is offline for 2 h"


FULL = replace(OPEN, tally=Tally(queued=2, in_progress=50))
SOAKING = replace(OPEN, state=StageState.SOAKING, soak_at=100)
WAITS: list[tuple[Case, list[tuple[str, str]]]] = [
    (case(part=QUEUED, states=[OPEN]), [("next", "it is queued in stage a, and next")]),
    (case(part=QUEUED, states=[FULL]), [("slot", "it is queued in stage a: 50 of 50 are at work")]),
    (case(part=QUEUED, states=[SOAKING]), [("soaking", "stage a soaks, and lets nobody begin")]),
    (
        case(part=QUEUED, states=[OPEN], pause_reasons=("operator:lunch", "breach:a")),
        [("paused", "the run is paused: operator:lunch"), ("paused", "the run is paused: breach:a")],
    ),
    (
        case(part=QUEUED, states=[OPEN], device=replace(OFFLINE, is_blocked=True, is_broken=True, last_seen_at=None)),
        [
            ("blocked", "it is blocked"),
            ("broken", "an installation left it broken, and it gets no work until it reports a whole one"),
            ("offline", "it is offline and never was online"),
        ],
    ),
    (case(part=QUEUED, states=[OPEN], rival=Rival(run="r9", is_at_work=True)), [("busy", "it is at work in run r9")]),
    (
        case(part=QUEUED, states=[OPEN], rival=Rival(run="r9", is_at_work=False)),
        [("behind", "it waits in run r9, too, which goes first")],
    ),
]


@pytest.mark.parametrize(("asked", "answer"), WAITS)
def test_a_queued_device_is_told_all_that_it_waits_for(asked: Case, answer: list[tuple[str, str]]) -> None:
    assert told(asked) == answer


SALE = Freeze(name="sale", starts_at=Instant(0), ends_at=Instant(AT + 99), reason="sale week")


def test_a_freeze_and_a_rate_say_until_when_they_hold() -> None:
    [fact] = why(case(part=QUEUED, states=[OPEN], freeze=SALE))
    assert (fact.text, fact.until) == ("nothing begins in the freeze sale: sale week", AT + 99)
    assert [code for code, _ in told(case(states=[StageRun()], freeze=SALE))] == ["not_open", "frozen"]
    [paced] = why(case(part=QUEUED, states=[replace(OPEN, paced_until=1_500)]))
    assert (paced.code, paced.until) == (Code.RATE, AT + 1_000)


def test_an_attempt_that_a_freeze_suspends_names_the_freeze_first_and_until_when() -> None:
    suspended = replace(INSTALLING, attempt_state=AttemptState.SENT, accepted_at=None, due=None)
    frozen, at_work = why(case(part=suspended, states=[OPEN], freeze=SALE))
    assert (frozen.code, frozen.text) == (Code.FROZEN, "the freeze sale suspends its attempt: sale week")
    assert (frozen.change, frozen.until) == ("it ends, or is taken off the calendar", AT + 99)
    assert (at_work.code, at_work.change, at_work.until) == (Code.AT_WORK, "it is commanded anew", None)


def test_an_attempt_that_a_pause_suspends_after_a_freeze_names_the_pause() -> None:
    suspended = replace(INSTALLING, attempt_state=AttemptState.SENT, accepted_at=None, due=None)
    found = told(case(part=suspended, states=[OPEN], pause_reasons=("lunch",)))
    assert [code for code, _ in found] == ["at_work", "paused"]


def test_an_attempt_that_goes_on_in_a_freeze_says_nothing_of_it() -> None:
    assert [code for code, _ in told(case(part=INSTALLING, states=[OPEN], freeze=SALE))] == ["at_work"]


def test_a_run_over_an_earlier_run_names_that() -> None:
    asked = case(states=[OPEN])
    source = Source(run="r1", run_id=1, purpose=Purpose.RETRY)
    [(code, text)] = told(replace(asked, plan=replace(asked.plan, source=source)))
    assert (code, text) == ("no_member", "the run takes devices of run r1 alone, and this one it does not have")


def test_a_run_over_an_earlier_run_whose_stage_has_not_opened_says_what_it_waits_for() -> None:
    asked = case(states=[StageRun()], freeze=SALE, pause_reasons=("stopped",))
    source = Source(run="r1", run_id=1, purpose=Purpose.ROLLBACK)
    assert told(replace(asked, plan=replace(asked.plan, source=source))) == [
        ("not_open", "the run takes devices of run r1, whether this one is decided when stage a opens"),
        ("paused", "the run is paused: stopped"),
        ("frozen", "nothing begins in the freeze sale: sale week"),
    ]


def test_a_stage_that_takes_newcomers_in_takes_it_before_long() -> None:
    newcomers = stage("a", targets=Targets(include_new=True))
    [(code, text)] = told(case(newcomers, states=[OPEN]))
    assert (code, text) == ("next", "stage a takes newcomers in, and this one before long")


def test_approvals_that_are_missing_are_told() -> None:
    waiting = StageRun(state=StageState.AWAITING_PROMOTION, met_at=0)
    manual = stage("a", trigger=Trigger.MANUAL, approvals=2)
    [fact] = why(case(manual, states=[waiting]))
    assert fact.text == "its stage a awaits promotion, and 2 more to approve it"
    [(_, text)] = told(case(manual, states=[replace(waiting, is_promoted=True)]))
    assert text == "its stage a is promoted, and opens when the run may go on"


@pytest.mark.parametrize(("reason", "after"), [(None, ""), (Reason.INTERRUPTED, " after interrupted")])
def test_a_retry_says_when(reason: Reason | None, after: str) -> None:
    part = Target(attempt=1, due=40_500, reason=reason)
    [fact] = why(case(part=part, states=[OPEN]))
    assert (fact.text, fact.until) == (f"attempt 2 of 3 waits for its time{after}", AT + 40_000)
    assert told(case(part=replace(part, due=400), states=[OPEN]))[0][0] == "next"


MISMATCHES = [
    (Targets(labels={"region": "eu"}), "label region is us, and the stage wants eu"),
    (Targets(labels={"ring": "one"}), "label ring is not set, and the stage wants one"),
    (Targets(groups=("eu", "asia")), "it is in none of the groups eu, asia"),
    (Targets(devices=(DeviceId("z"),)), "it is not among the devices that the stage lists"),
    (Targets(exclude=(DeviceId("k"),)), "it is excluded by name"),
    (Targets(percent=0.5), "it is outside the share of 0.5 %"),
    (
        Targets(query='model == "k2" && labels.region == "eu"'),
        'labels.region == "eu" does not hold: labels.region is us',
    ),
]


@pytest.mark.parametrize(("targets", "text"), MISMATCHES)
def test_a_device_that_a_stage_does_not_want_is_told_why(targets: Targets, text: str) -> None:
    assert told(case(stage("a", targets=targets), states=[OPEN])) == [("no_member", f"not in stage a: {text}")]


QUERIES = [
    ('labels.ring == "a"', ": there is no labels.ring"),
    ('model in ["k1"]', ": model is k2"),
    ('!(model == "k2")', ": model is k2"),
    ('model.startsWith("z")', ": model is k2"),
    ("has(labels.ring)", ": there is no labels.ring"),
    ('group("eu")', ": its groups are us/boston"),
    ('model == "a" || model == "b"', ""),
    ("false", ""),
]


@pytest.mark.parametrize(("text", "instead"), QUERIES)
def test_a_query_that_does_not_hold_says_what_the_device_has(text: str, instead: str) -> None:
    assert explain(parse(text), KIOSK).endswith(f"does not hold{instead}")
    assert explain(parse('group("eu")'), replace(KIOSK, groups=frozenset())).endswith("it is in no group")


def test_a_stage_to_come_says_what_it_needs_before_what_does_not_concern_the_device() -> None:
    first = stage("a", targets=Targets(labels={"region": "eu"}))
    states = [replace(OPEN, tally=Tally(queued=28, succeeded=12)), StageRun()]
    found = told(case(first, stage("b", "a"), states=states, pause_reasons=("lunch",)))
    assert found[0] == ("not_open", "its stage b has not opened: it needs a, which is rolling out (12 of 40)")
    assert [code for code, _ in found] == ["not_open", "paused", "no_member"]
    assert told(case(states=[StageRun()]))[0] == ("not_open", "its stage a has not opened")
    blocked = [StageRun(), StageRun()]
    assert told(case(first, stage("b", "a"), states=blocked))[0][1].endswith("it needs a, which is blocked")


def test_a_stage_that_awaits_a_person_or_its_delay_says_so() -> None:
    manual = stage("a", trigger=Trigger.MANUAL)
    waiting = StageRun(state=StageState.AWAITING_PROMOTION, met_at=0)
    assert told(case(manual, states=[waiting])) == [("promotion", "its stage a awaits promotion")]
    [fact] = why(case(stage("a", delay_ms=2_000), states=[StageRun(met_at=0)]))
    assert (fact.code, fact.until) == (Code.DELAY, AT + 1_500)


def test_a_stage_whose_delay_is_over_says_that_it_opens_when_the_run_may_go_on() -> None:
    fact, frozen = why(case(stage("a", delay_ms=500), states=[StageRun(met_at=0)], freeze=SALE))
    assert (fact.text, fact.until) == ("its stage a opens when the run may go on", None)
    assert frozen.code is Code.FROZEN


def test_a_stage_that_it_missed_is_told_of() -> None:
    assert told(case(states=[OPEN])) == [
        ("too_late", "stage a opened without it, which fits only since then or was shut out")
    ]
    closed = StageRun(state=StageState.CANCELLED, reason="what it needs was not met")
    text = "stage a would have it, and never opened: it was cancelled"
    assert told(case(states=[closed])) == [("closed", f"{text} (what it needs was not met)")]
    assert told(case(states=[replace(closed, reason="")]))[0][1] == text


def test_only_the_first_stage_that_would_take_it_is_its_stage() -> None:
    found = told(case(stage("a"), stage("b"), states=[StageRun(), StageRun()]))
    assert found[1] == ("not_open", "stage b would have it, too, and has not opened")


def test_a_run_that_has_ended_without_it_says_so_first() -> None:
    device = replace(ONLINE, is_blocked=True, is_removed=True)
    found = told(case(states=[OPEN], state=RunState.SUCCEEDED, device=device))
    assert [code for code, _ in found] == ["removed", "run_ended", "too_late"]


parts = st.none() | st.builds(
    Target,
    state=st.sampled_from(TargetState),
    attempt=st.integers(0, 3),
    attempt_state=st.none() | st.sampled_from(AttemptState),
    due=st.none() | st.integers(0, 1_000),
    reason=st.none() | st.sampled_from(Reason),
    left=st.none() | st.sampled_from(Left),
    cancel_requested=st.booleans(),
    is_idle=st.booleans(),
    late_success_at=st.none() | st.just(5),
)
stage_runs = st.builds(
    StageRun,
    state=st.sampled_from(StageState),
    tally=st.builds(Tally, queued=st.integers(0, 3), in_progress=st.integers(0, 3)),
    is_frozen=st.booleans(),
    is_recalled=st.booleans(),
    met_at=st.none() | st.just(1),
    opened_at=st.none() | st.just(2),
    soak_at=st.none() | st.just(3),
    paced_until=st.none() | st.just(900),
    is_promoted=st.booleans(),
)
subjects = st.builds(
    Subject,
    described=st.just(KIOSK),
    is_online=st.booleans(),
    is_blocked=st.booleans(),
    is_broken=st.booleans(),
    is_removed=st.booleans(),
    last_seen_at=st.none() | st.just(AT),
)
targets = st.sampled_from([wanted for wanted, _ in MISMATCHES] + [Targets()])


@given(
    st.tuples(targets, targets),
    st.tuples(stage_runs, stage_runs),
    subjects,
    parts,
    st.integers(0, 1),
    st.sampled_from(RunState),
    st.sampled_from([(), ("operator:x",)]),
    st.sampled_from([RunClock(base=100), RunClock(base=100, since=AT)]),
    st.none() | st.builds(Rival, run=st.just("r2"), is_at_work=st.booleans()),
)
def test_there_is_always_an_answer(  # noqa: PLR0917 - hypothesis gives one argument for each thing drawn
    wanted: tuple[Targets, Targets],
    states: tuple[StageRun, StageRun],
    device: Subject,
    part: Target | None,
    index: int,
    state: RunState,
    pause_reasons: tuple[str, ...],
    clock: RunClock,
    rival: Rival | None,
) -> None:
    stages = (stage("a", targets=wanted[0]), stage("b", "a", targets=wanted[1], gate=Gate(), pace=Pace()))
    asked = case(
        *stages,
        states=list(states),
        device=device,
        part=part,
        stage=index,
        state=state,
        pause_reasons=pause_reasons,
        clock=clock,
        rival=rival,
    )
    facts = why(asked)
    assert facts
    assert all(fact.text and fact.text[0].islower() for fact in facts)
    assert len({fact.text for fact in facts}) == len(facts)


@pytest.mark.parametrize("reason", BlockReason)
def test_a_device_that_may_not_begin_is_told_why_and_what_lets_it_in(reason: BlockReason) -> None:
    refusal = Blocked(reason=reason, text="as admission says", check_at=Instant(AT + 60_000))
    fact = next(one for one in why(case(part=QUEUED, states=[OPEN], refusal=refusal)) if one.code.value == reason.value)
    assert (fact.text, fact.until) == ("as admission says", AT + 60_000)
    assert fact.change


def test_a_device_that_is_let_in_has_nothing_of_admission_to_tell() -> None:
    codes = {fact.code.value for fact in why(case(part=QUEUED, states=[OPEN]))}
    assert codes.isdisjoint(reason.value for reason in BlockReason)
