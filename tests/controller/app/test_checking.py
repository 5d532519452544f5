"""Checks are asked after the commit, by whoever runs then; answers come from outside, build systems and people."""

import asyncio
import base64
from collections import deque
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from controller.app import checking, hooks, runs, wakeups
from controller.app.access import Actor, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotAuthenticated, NotFound
from controller.app.hooks import Delivery, signature_of
from controller.app.questions import WAITING_MAX
from controller.domain.gates.checks import Answer, AnswerKind, Check, Http, Prometheus, Webhook
from controller.domain.pipeline import Gate, OnBreach
from protocol.units import MINUTE, SECOND, later
from tests.controller.app.rig import ADMIN, Rig, stage

PAGE = Http(url="https://shop.example/health")
OK, FAILED, NO_DATA = AnswerKind


class Fake:
    """Who answers what a test says, in this order, and is silent for good after that."""

    def __init__(self, *kinds: AnswerKind) -> None:
        self.kinds = deque(kinds)
        self.asked: list[Http | Prometheus] = []

    async def ask(self, source: Http | Prometheus) -> Answer:
        self.asked.append(source)
        return Answer(kind=self.kinds.popleft() if self.kinds else NO_DATA, evidence="as told")


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    return rig


def begun(rig: Rig, *checks: Check, **gate: Any) -> str:
    """Start a run whose one device succeeds, so that its stage soaks."""
    run = rig.start(stage("all", gate=Gate(checks=checks, **gate)))
    rig.succeed("a")
    return run


def check(name: str = "page", **changes: Any) -> Check:
    return Check(**{"name": name, "source": PAGE, "fails_after": 2, **changes})


def ask_all(rig: Rig, asker: Fake) -> None:
    """Put every question that waits."""
    while (question := rig.controller.questions.take()) is not None:
        rig.wait(checking.put_question(rig.controller, asker, question))
        rig.pump()


def state(rig: Rig, run: str) -> str:
    return rig.view(run).stages[0].state


def test_a_stage_passes_once_what_is_asked_is_answered_well_often_enough(rig: Rig) -> None:
    run, asker = begun(rig, check(needed=2)), Fake(OK, OK)
    ask_all(rig, asker)
    view = rig.view(run).stages[0]
    assert (view.state, view.checks[0].oks, view.checks[0].verdict) == ("soaking", 1, "wait")
    assert view.checks[0].said == "check page: 1 of 2 successes in a row; the last: as told"
    rig.sleep(MINUTE)
    ask_all(rig, asker)
    assert rig.view(run).state == "succeeded"
    assert asker.asked == [PAGE, PAGE]


def test_nothing_is_asked_before_the_stage_has_succeeded(rig: Rig) -> None:
    run = rig.start(stage("all", gate=Gate(checks=(check(),))))
    assert rig.controller.questions.take() is None
    assert not rig.view(run).stages[0].checks[0].asked


def test_failures_fail_the_stage_with_their_evidence(rig: Rig) -> None:
    run, asker = begun(rig, check()), Fake(FAILED, FAILED)
    for _ in range(2):
        ask_all(rig, asker)
        rig.sleep(MINUTE)
    stage_view = rig.view(run).stages[0]
    assert (stage_view.state, stage_view.reason) == (
        "failed",
        "check page: 2 of 2 failures in a row; the last: as told",
    )
    assert stage_view.checks[0].failed_at is not None
    assert stage_view.checks[0].evidence == "2 of 2 failures in a row; the last: as told"
    assert stage_view.gate.breach is None, "what failures of devices say is another matter"


def test_no_data_holds_the_run_and_a_resume_needs_no_override_because_it_passes_nothing(rig: Rig) -> None:
    run, asker = begun(rig, check(no_data_after_ms=3 * MINUTE)), Fake()
    for _ in range(4):
        ask_all(rig, asker)
        rig.sleep(MINUTE)
    assert rig.view(run).pause_reasons == ("no_data:all/page",)
    rig.do(runs.resume, run=run)
    assert state(rig, run) == "soaking"
    ask_all(rig, Fake(OK))
    assert rig.view(run).state == "succeeded"


def test_a_breach_by_a_check_is_resumed_over_with_an_override_alone(rig: Rig) -> None:
    run, asker = begun(rig, check(), on_breach=OnBreach.PAUSE), Fake(FAILED, FAILED)
    for _ in range(2):
        ask_all(rig, asker)
        rig.sleep(MINUTE)
    with pytest.raises(Conflict, match="override"):
        rig.do(runs.resume, run=run)
    rig.do(runs.resume, run=run, override=True, reason="the probe was wrong")
    assert state(rig, run) == "soaking"
    ask_all(rig, Fake(OK))
    assert rig.view(run).state == "succeeded"


def test_a_question_outlives_the_controller_that_was_to_put_it(rig: Rig) -> None:
    run = begun(rig, check())
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    assert rig.controller.questions.take() is None
    rig.wait(wakeups.recover(rig.controller))
    ask_all(rig, Fake(OK))
    assert rig.view(run).state == "succeeded"


def test_a_question_that_is_lost_lapses_and_is_put_again(rig: Rig) -> None:
    run = begun(rig, check())
    lost = rig.controller.questions.take()
    assert lost is not None
    rig.sleep(MINUTE + SECOND)
    again = rig.controller.questions.take()
    assert again is not None
    assert again.sequence > lost.sequence
    rig.wait(checking.put_question(rig.controller, Fake(OK), lost))
    assert state(rig, run) == "soaking", "an answer to a question that lapsed is none"
    rig.wait(checking.put_question(rig.controller, Fake(OK), again))
    assert rig.view(run).state == "succeeded"


def test_an_answer_that_comes_twice_counts_once(rig: Rig) -> None:
    run = begun(rig, check(needed=2))
    question = rig.controller.questions.take()
    assert question is not None
    for _ in range(2):
        rig.wait(checking.put_question(rig.controller, Fake(OK), question))
    assert rig.view(run).stages[0].checks[0].oks == 1


def test_questions_that_wait_are_limited_and_whoever_puts_them_is_told(rig: Rig) -> None:
    begun(rig, check())
    question = rig.controller.questions.take()
    assert question is not None
    told: list[int] = []
    rig.controller.questions.on_put = lambda: told.append(1)
    rig.controller.questions.put([question] * (WAITING_MAX + 5))
    assert told == [1]
    taken = iter(rig.controller.questions.take, None)
    assert sum(1 for _ in taken) == WAITING_MAX


def test_the_loop_puts_what_waits_and_what_comes_later(rig: Rig) -> None:
    run = begun(rig, check(needed=2))

    heard = asyncio.Event()

    class Telling(Fake):
        async def ask(self, source: Http | Prometheus) -> Answer:
            heard.set()
            return await super().ask(source)

    asker = Telling(OK, OK)

    async def hears() -> None:
        await asyncio.wait_for(heard.wait(), 10)
        heard.clear()
        await asyncio.sleep(0)

    async def play() -> None:
        loop = asyncio.create_task(checking.run_for_ever(rig.controller, asker))
        await hears()
        rig.clock.time = later(rig.clock.time, MINUTE)
        await wakeups.look(rig.controller)
        await hears()
        loop.cancel()

    asyncio.run(play())
    assert rig.view(run).state == "succeeded"


# --- people -----------------------------------------------------------------------------------------------------


def by_hand(rig: Rig, run: str, actor: Actor = ADMIN, **changes: Any) -> None:
    asked = {"run": run, "stage": "all", "check": "page", "is_ok": True, "reason": "looked at it"}
    rig.do(checking.answer, actor, **(asked | changes))


def test_a_person_says_how_a_check_went_and_the_timeline_says_who(rig: Rig) -> None:
    run = begun(rig, check(needed=9))
    by_hand(rig, run)
    assert rig.view(run).state == "succeeded"
    entries = [entry.data for entry in rig.do(runs.events, run=run) if entry.kind == "check_answered"]
    assert entries == [{"stage": "all", "text": "page: ok", "by": "ann", "evidence": "looked at it"}]


def test_a_person_who_says_that_it_failed_breaches_the_gate(rig: Rig) -> None:
    run = begun(rig, check())
    by_hand(rig, run, is_ok=False, reason="tills are down")
    assert state(rig, run) == "failed"


def test_who_may_not_promote_may_not_answer_and_a_reason_is_needed(rig: Rig) -> None:
    run = begun(rig, check())
    with pytest.raises(NotAllowed):
        by_hand(rig, run, Actor(name="eve", role=Role.VIEWER))
    with pytest.raises(InvalidRequest, match="reason"):
        by_hand(rig, run, reason="")
    with pytest.raises(NotFound, match="no check 'x'; it has page"):
        by_hand(rig, run, check="x")
    assert state(rig, run) == "soaking"


def test_a_check_that_is_not_asked_yet_or_no_more_takes_no_answer(rig: Rig) -> None:
    run = rig.start(stage("all", gate=Gate(checks=(check(),))))
    with pytest.raises(Conflict, match="asked from the soak on: stage 'all' is rolling_out"):
        by_hand(rig, run)
    rig.succeed("a")
    by_hand(rig, run)
    with pytest.raises(Conflict, match="not running"):
        by_hand(rig, run)


# --- build systems ----------------------------------------------------------------------------------------------


def signed(rig: Rig, secret: str, name: str = "msg-1", **body: Any) -> Delivery:
    timestamp = str(rig.clock.time // SECOND)
    raw = msgspec.json.encode(body)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = signature_of(key, id=name, timestamp=timestamp, body=raw)
    return Delivery(id=name, timestamp=timestamp, signatures=signature, body=raw)


def told(rig: Rig, delivery: Delivery) -> Any:
    receiving: Coroutine[Any, Any, Any] = checking.receive(rig.controller, job="job", delivery=delivery)
    view = rig.wait(receiving)
    rig.pump()
    return view


def test_a_build_system_answers_by_the_hook_of_the_job_and_each_delivery_counts_once(rig: Rig) -> None:
    run = begun(rig, check("ci", source=Webhook(), needed=2))
    secret = rig.do(hooks.create, job="job").secret
    body: dict[str, Any] = {"run": run, "stage": "all", "check": "ci", "ok": True, "text": "212 passed"}
    first = signed(rig, secret, **body)
    assert told(rig, first).said.endswith("the last: 212 passed")
    with pytest.raises(Conflict, match="carried out already"):
        told(rig, first)
    told(rig, signed(rig, secret, "msg-2", **body))
    assert rig.view(run).state == "succeeded"


def test_what_is_not_signed_or_not_for_this_job_changes_nothing(rig: Rig) -> None:
    run = begun(rig, check("ci", source=Webhook()), check("page"))
    secret = rig.do(hooks.create, job="job").secret
    body: dict[str, Any] = {"run": run, "stage": "all", "check": "ci", "ok": True}
    with pytest.raises(NotAuthenticated):
        told(rig, signed(rig, base64.b64encode(bytes(32)).decode(), **body))
    with pytest.raises(NotFound):
        told(rig, signed(rig, secret, "msg-2", **(body | {"run": "r0"})))
    with pytest.raises(InvalidRequest, match="not what this hook takes"):
        told(rig, signed(rig, secret, "msg-3", version="1.0.0"))
    with pytest.raises(Conflict, match="it is no webhook"):
        told(rig, signed(rig, secret, "msg-4", **(body | {"check": "page"})))
    assert rig.view(run).stages[0].checks[0].last_at is None


def test_a_signed_answer_starts_no_run(rig: Rig) -> None:
    run = begun(rig, check("ci", source=Webhook()))
    secret = rig.do(hooks.create, job="job").secret
    delivery = signed(rig, secret, run=run, stage="all", check="ci", ok=True)
    with pytest.raises(InvalidRequest):
        rig.wait(hooks.receive(rig.controller, job="job", delivery=delivery))
