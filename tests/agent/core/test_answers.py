"""Hello, trusted time, permission, and what ends the silence."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.answers import HELLO_PATIENCE, SILENCE_MIN, SPREAD_MAX
from agent.core.effects import Alarm, DropReports, FileReport, SayHello
from agent.core.events import (
    AnswerReceived,
    Connected,
    Disconnected,
    Finished,
    Progressed,
    Started,
    Woke,
)
from agent.core.machine import next_deadline
from agent.core.model import RUNS_MAX, Phase, RunNote, State
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import Name, RunId
from protocol.keys import ring_of
from protocol.lifecycle import AttemptState
from protocol.messages import (
    Hello,
    HelloReply,
    Mode,
    PayloadType,
    Refused,
    RootVersions,
    StateReport,
    WorkInHand,
    WorkPermit,
)
from protocol.units import DAY, HOUR, MINUTE, Instant
from tests.agent.world import (
    BOOT,
    DIRECTOR,
    FLEET,
    INCARNATION,
    NAME,
    NONCE,
    NONCE_2,
    STRANGER,
    T0,
    TRUST,
    ack,
    command,
    control,
    digest,
    kinds,
    new_key,
    new_state,
    ready,
    received,
    reply,
    run,
)

DONE = Finished(at=3_000, run=RunId("run-1"), attempt=1, phase=Phase.DOWNLOADING)


def connected() -> State:
    return run(new_state(), Started(at=500, boot=BOOT), Connected(at=1_000, nonce=NONCE)).state


def answered(raw: bytes, *, at: int = 1_500) -> AnswerReceived:
    return AnswerReceived(at=at, raw=raw)


def alarms(effects: list[Any]) -> list[str]:
    return [str(effect.kind) for effect in effects if isinstance(effect, Alarm)]


def test_the_hello_says_who_what_and_where_the_device_stands() -> None:
    busy = run(ready(), received(command())).state
    stepped = run(busy, Disconnected(at=5_000), Connected(at=6_000, nonce=NONCE_2))
    work = WorkInHand(
        command=digest(command()), run="run-1", attempt=1, state=AttemptState.DOWNLOADING, epoch=1, mode=Mode.GO
    )
    hello = Hello(
        device=NAME,
        nonce=NONCE_2,
        incarnation=INCARNATION,
        hello_seq=2,
        connection=NONCE_2,
        generation=1,
        seq=T0,
        roots=RootVersions(fleet=1, release=1),
        work=work,
        agent="0.1.0",
    )
    assert stepped.effects == [SayHello(hello=hello)]


def test_trusted_time_runs_on_from_when_the_hello_was_sent() -> None:
    state = run(connected(), answered(reply())).state
    assert state.now(1_000) == T0
    assert state.now(61_000) == T0 + MINUTE
    assert state.durable.time_floor == T0


def test_time_survives_a_restart_of_the_agent_but_not_of_the_device() -> None:
    state = ready()
    same = run(state, Started(at=9_000, boot=BOOT)).state
    assert same.now(11_000) == T0 + 10_000
    other = run(state, Started(at=100, boot="boot-2")).state
    assert other.now(200) is None
    assert other.at(T0) is None
    assert kinds(run(other, received(command())).effects) == ["Alarm", "refused:no-fresh-time"]


BAD_ANSWERS: dict[str, tuple[bytes, str]] = {
    "garbage": (b"nonsense", "untrusted_answer"),
    "another type": (seal(b"{}", PayloadType.REQUEST, DIRECTOR), "untrusted_answer"),
    "a stranger's reply": (reply(key=STRANGER), "untrusted_answer"),
    "the director's reply": (reply(key=DIRECTOR), "untrusted_answer"),
    "a stranger's acknowledgement": (ack(1, key=STRANGER), "untrusted_answer"),
    "a reply for another device": (reply(device=Name("acme:kiosk-18")), "foreign_answer"),
    "an acknowledgement for another device": (ack(1, device=Name("acme:kiosk-18")), "foreign_answer"),
    "an acknowledgement for an earlier journal": (ack(1, incarnation="f" * 16), "foreign_answer"),
    "a recorded reply": (reply(nonce=NONCE_2), "unasked_reply"),
    "a time before the root": (reply(time=Instant(FLEET.issued - 1)), "time_refused"),
    "a time after the root": (reply(time=FLEET.expires), "time_refused"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_changes_nothing_but_the_count(name: str) -> None:
    raw, kind = BAD_ANSWERS[name]
    before = connected()
    stepped = run(before, answered(raw))
    assert alarms(stepped.effects) == [kind]
    assert stepped.state == before
    assert run(stepped.state, answered(reply())).state.now(1_000) == T0


def test_a_reply_counts_once() -> None:
    stepped = run(connected(), answered(reply()), answered(reply()))
    assert alarms(stepped.effects) == ["unasked_reply"]


def test_time_never_goes_below_the_floor_but_for_a_new_time_key() -> None:
    lied = run(connected(), answered(reply(time=Instant(T0 + 200 * DAY)))).state
    again = run(lied, Connected(at=2_000, nonce=NONCE_2)).state
    honest = answered(reply(nonce=NONCE_2, time=Instant(T0 + DAY)), at=2_500)
    assert alarms(run(again, honest).effects) == ["time_refused"]
    fresh = new_key()
    fleet = replace(FLEET, version=2, time={**FLEET.time, **ring_of(fresh.public)})
    trust = replace(TRUST, fleet=fleet)
    cured = run(again, answered(reply(nonce=NONCE_2, key=fresh), at=2_500), trust=trust)
    assert cured.state.durable.time_floor == T0
    old = run(cured.state, Connected(at=3_000, nonce=NONCE), trust=trust).state
    stale = run(old, answered(reply(time=Instant(T0 + DAY)), at=3_500), trust=trust)
    assert alarms(stale.effects) == ["time_refused"]


def test_an_acknowledgement_drops_stored_and_refused_reports() -> None:
    busy = run(ready(), received(command()))
    assert [f.report_seq for f in busy.state.durable.filed] == [1, 2]
    raw = ack(1, 77, refused=(Refused(report_seq=2, code="unknown"),))
    stepped = run(busy.state, answered(raw), answered(raw))
    assert kinds(stepped.effects) == ["DropReports"]
    assert not stepped.state.durable.filed


# --- permission ---


def test_held_work_downloads_and_waits_until_it_may_go_on() -> None:
    busy = run(ready(), received(command())).state
    held = run(busy, received(control("hold", seq=T0 + 1, epoch=2)), DONE).state
    assert held.durable.work is not None
    assert held.durable.work.phase is Phase.WAITING
    assert held.session.deadline_at is None
    assert kinds(run(held, Started(at=4_000, boot=BOOT)).effects) == []
    stale = run(held, received(control("go", seq=T0 + 2, epoch=1)))
    assert kinds(stale.effects) == ["Alarm", "refused:stale-epoch"]
    gone_on = run(held, received(control("go", seq=T0 + 2, epoch=3, not_after=Instant(T0 + 8 * HOUR))))
    assert kinds(gone_on.effects) == ["report:downloading", "report:installing", "Install"]
    work = gone_on.state.durable.work
    assert work is not None
    assert (work.epoch, work.not_after) == (3, T0 + 8 * HOUR)


def test_a_device_that_waits_through_many_restarts_is_in_no_loop() -> None:
    held = run(ready(), received(command()), received(control("hold", seq=T0 + 1, epoch=2)), DONE).state
    restarted = run(held, *[Started(at=4_000, boot=BOOT)] * 100).state
    assert restarted.durable.work == held.durable.work


def test_cancel_ends_work_before_the_irreversible_step_and_lets_it_finish_after() -> None:
    busy = run(ready(), received(command())).state
    cancel = received(control("cancel", seq=T0 + 1, epoch=2))
    assert kinds(run(busy, cancel).effects) == [
        "report:downloading",
        "Abort",
        "report:cancelled:cancelled:old",
        "Clean",
    ]
    waiting = run(busy, received(control("hold", seq=T0 + 1, epoch=2)), DONE).state
    late = received(control("cancel", seq=T0 + 2, epoch=3))
    assert "report:cancelled:cancelled:old" in kinds(run(waiting, late).effects)
    installing = run(busy, DONE).state
    stepped = run(installing, cancel)
    assert kinds(stepped.effects) == ["report:installing"]
    assert stepped.state.durable.work is not None


def test_a_cancel_without_work_in_hand_is_answered_by_attempt_zero() -> None:
    state = run(ready(), received(command()), received(control("cancel", seq=T0 + 1, epoch=2))).state
    for name in ("run-1", "run-7"):
        other = run(state, received(control("cancel", seq=T0 + 2, epoch=2, run=name)))
        (told,) = other.effects
        assert isinstance(told, FileReport)
        assert isinstance(told.report, StateReport)
        assert (told.report.state, told.report.attempt, told.report.mode) == ("accepted", 0, "cancel")
    assert other.state.durable.run("run-7") == RunNote(epoch=2, mode=Mode.CANCEL)


def test_permission_ends_by_the_trusted_clock() -> None:
    busy = run(ready(), received(command(not_after=Instant(T0 + MINUTE)))).state
    assert next_deadline(busy) == 1_000 + MINUTE
    stepped = run(busy, Woke(at=1_000 + MINUTE, nonce=NONCE_2))
    assert kinds(stepped.effects) == ["Abort", "report:failed:permission_ended:old", "Clean"]
    held = run(busy, received(control("hold", seq=T0 + 1, epoch=2)), DONE).state
    stepped = run(held, Woke(at=1_000 + MINUTE, nonce=NONCE_2))
    assert kinds(stepped.effects) == ["report:failed:permission_ended:old", "Clean"]


def test_after_a_reboot_the_irreversible_step_waits_for_the_time() -> None:
    busy = run(ready(), received(command())).state
    booted = run(busy, Started(at=10, boot="boot-2"), replace(DONE, at=20)).state
    assert booted.durable.work is not None
    assert booted.durable.work.phase is Phase.WAITING
    said = run(booted, Connected(at=30, nonce=NONCE_2)).state
    in_time = run(said, answered(reply(nonce=NONCE_2, time=Instant(T0 + MINUTE)), at=40))
    assert kinds(in_time.effects) == ["report:installing", "Install"]
    too_late = run(said, answered(reply(nonce=NONCE_2, time=Instant(T0 + 3 * HOUR)), at=40))
    assert "report:failed:permission_ended:old" in kinds(too_late.effects)


@pytest.mark.parametrize(
    ("permit", "told"),
    [
        (WorkPermit(run="run-1", epoch=1, mode=Mode.GO), ["report:installing", "Install"]),
        (WorkPermit(run="run-1", epoch=2, mode=Mode.GO), []),
        (WorkPermit(run="run-1", epoch=1, mode=Mode.HOLD), []),
        (WorkPermit(run="run-1", epoch=1, mode=Mode.CANCEL), ["report:cancelled:cancelled:old", "Clean"]),
        (WorkPermit(run="run-1", epoch=0, mode=Mode.HOLD), ["report:installing", "Install"]),
    ],
    ids=["go", "go, but newer", "hold", "cancel", "an old one"],
)
def test_the_hello_reply_repeats_the_permission(permit: WorkPermit, told: list[str]) -> None:
    busy = run(ready(), received(command())).state
    booted = run(busy, Started(at=10, boot="boot-2"), replace(DONE, at=20), Connected(at=30, nonce=NONCE_2)).state
    stepped = run(booted, answered(reply(nonce=NONCE_2, work=permit), at=40))
    assert kinds(stepped.effects) == told


def test_what_is_known_of_runs_is_bounded_and_keeps_the_one_in_hand() -> None:
    state = run(ready(), received(command())).state
    for n in range(RUNS_MAX * 2):
        state = run(state, received(control("hold", seq=T0 + 1 + n, epoch=1, run=f"other-{n}"))).state
    assert len(state.durable.runs) == RUNS_MAX
    assert "run-1" in state.durable.runs


# --- keeping in touch ---


def test_an_unanswered_hello_gives_the_connection_up() -> None:
    state = connected()
    assert next_deadline(state) == 1_000 + HELLO_PATIENCE
    assert run(state, Woke(at=999 + HELLO_PATIENCE, nonce=NONCE_2)).effects == []
    stepped = run(state, Woke(at=1_000 + HELLO_PATIENCE, nonce=NONCE_2))
    assert kinds(stepped.effects) == ["Reconnect"]


def test_hello_is_said_again_before_the_silence_is_too_long() -> None:
    state = run(connected(), answered(reply(max_silence_ms=90_000))).state
    assert next_deadline(state) == 61_500
    stepped = run(state, Woke(at=61_500, nonce=NONCE_2))
    (hello,) = stepped.effects
    assert isinstance(hello, SayHello)
    assert (hello.hello.nonce, hello.hello.connection) == (NONCE_2, NONCE)


def request(*report_seqs: int, within_ms: int = MINUTE, **changes: Any) -> bytes:
    """Return an acknowledgement that also asks for a hello."""
    return ack(*report_seqs, hello_within_ms=within_ms, **changes)


def hellos(effects: list[Any]) -> int:
    return sum(isinstance(effect, SayHello) for effect in effects)


def test_a_hello_that_is_asked_for_is_said_once_within_the_span() -> None:
    state = run(ready(), answered(request(), at=2_000)).state
    due = next_deadline(state)
    assert due is not None
    assert 2_000 <= due <= 2_000 + MINUTE
    early = run(state, Woke(at=due - 1, nonce=NONCE_2))
    said = run(early.state, Woke(at=due, nonce=NONCE_2))
    assert (hellos(early.effects), hellos(said.effects)) == (0, 1)
    assert said.state.session.nonce == NONCE_2
    again = run(said.state, answered(reply(nonce=NONCE_2), at=due + 1), Woke(at=due + 2 * MINUTE, nonce="2" * 32))
    assert hellos(again.effects) == 0


def test_devices_scatter_the_hellos_they_are_asked_for() -> None:
    """Each device, and each request to it, draws another instant."""
    states = [ready(hello_seq=number) for number in range(20)]
    asked = [run(state, answered(request(within_ms=1_000_000), at=2_000)).state for state in states]
    due = sorted(state.session.asked_due_at or 0 for state in asked)
    assert len(set(due)) == 20
    assert due[0] < 250_000
    assert due[-1] > 750_000


def test_a_request_also_acknowledges_reports() -> None:
    busy = run(ready(), received(command())).state
    filed = busy.durable.filed[0].report_seq
    stepped = run(busy, answered(request(filed), at=2_000))
    assert DropReports(report_seqs=(filed,)) in stepped.effects
    assert stepped.state.session.asked_due_at is not None


def test_a_hello_by_request_takes_the_place_of_one_that_is_unanswered() -> None:
    """That one was lost, at a broker that forgot all, or was heard before the controller lost sight."""
    asked = run(connected(), answered(request(within_ms=1), at=1_200)).state
    said = run(asked, Woke(at=1_500, nonce=NONCE_2))
    assert hellos(said.effects) == 1
    assert said.state.session.nonce == NONCE_2
    assert next_deadline(said.state) == 1_500 + HELLO_PATIENCE


def test_requests_however_many_cause_a_hello_a_minute_at_most() -> None:
    state, said_at = ready(), []
    for at in range(2_000, 2_000 + 5 * MINUTE, 500):
        stepped = run(state, answered(request(within_ms=1), at=at), Woke(at=at + 10, nonce=NONCE_2))
        state = stepped.state
        if hellos(stepped.effects):
            said_at.append(at + 10)
            state = run(state, answered(reply(nonce=NONCE_2), at=at + 20)).state
    assert len(said_at) == 5
    assert all(later - earlier >= SILENCE_MIN for earlier, later in pairwise(said_at))


def test_the_second_request_within_a_minute_waits_and_is_not_forgotten() -> None:
    first = run(ready(), answered(request(within_ms=1), at=2_000), Woke(at=2_010, nonce=NONCE_2)).state
    answered_first = run(first, answered(reply(nonce=NONCE_2), at=2_020)).state
    second = run(answered_first, answered(request(within_ms=1), at=2_030)).state
    assert next_deadline(second) == 2_010 + SILENCE_MIN
    assert hellos(run(second, Woke(at=2_010 + SILENCE_MIN, nonce="3" * 32)).effects) == 1


def test_any_hello_answers_the_request() -> None:
    asked = run(ready(), answered(request(within_ms=600_000), at=2_000)).state
    due = asked.session.hello_due_at
    assert due is not None
    late = replace(asked, session=replace(asked.session, asked_due_at=due + 1))
    said = run(late, Woke(at=due, nonce=NONCE_2))
    assert (hellos(said.effects), said.state.session.asked_due_at) == (1, None)


def test_without_a_connection_a_request_is_worth_nothing() -> None:
    """The next connection begins with a hello anyway."""
    asked = run(ready(), answered(request(), at=2_000), Disconnected(at=2_001), answered(request(), at=2_002)).state
    assert asked.session.asked_due_at is None


@pytest.mark.parametrize(
    "raw",
    [
        request(device=Name("acme:other")),
        request(incarnation="f" * 16),
        request(key=STRANGER),
        request(within_ms=0),
    ],
)
def test_a_request_for_somebody_else_is_none(raw: bytes) -> None:
    assert run(ready(), answered(raw, at=2_000)).state.session.asked_due_at is None


def test_the_span_of_a_request_is_bounded() -> None:
    asked = run(ready(), answered(request(within_ms=2**53 - 1), at=2_000)).state
    assert 2_000 <= (asked.session.asked_due_at or 0) <= 2_000 + SPREAD_MAX


def test_silence_is_an_alarm_once_and_stops_new_work() -> None:
    state = run(connected(), answered(reply(max_silence_ms=90_000)), Disconnected(at=2_000)).state
    assert next_deadline(state) == 91_001
    stepped = run(state, Woke(at=91_001, nonce=NONCE_2), Woke(at=92_000, nonce=NONCE_2))
    assert alarms(stepped.effects) == ["stale_control_plane"]
    assert next_deadline(stepped.state) is None
    late = run(stepped.state, received(command(), at=91_001))
    assert kinds(late.effects) == ["Alarm", "refused:no-fresh-time"]


def test_what_a_reply_asks_for_is_bounded() -> None:
    state = run(connected(), answered(reply(max_silence_ms=1, spread_ms=10 * DAY))).state
    assert (state.session.max_silence_ms, state.session.spread_ms) == (MINUTE, HOUR)


def test_progress_is_told_once_a_second_while_connected() -> None:
    def progress(at: int, **changes: Any) -> Progressed:
        return replace(Progressed(at=at, run=RunId("run-1"), attempt=1, done=5, total=8), **changes)

    busy = run(ready(), received(command())).state
    stepped = run(busy, progress(3_000), progress(3_500), progress(4_000), progress(6_000, attempt=2))
    assert kinds(stepped.effects) == ["SendTick", "SendTick"]
    assert run(busy, Disconnected(at=3_000), progress(3_100)).effects == []


def test_replies_and_acks_are_for_their_own_type() -> None:
    """A reply's bytes under the type of an acknowledgement are worth nothing."""
    raw = seal(encode(HelloReply(nonce=NONCE, device=NAME, time=T0)), PayloadType.ACK, DIRECTOR)
    assert alarms(run(connected(), answered(raw)).effects) == ["untrusted_answer"]
