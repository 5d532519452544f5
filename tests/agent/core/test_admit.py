"""The ordered check of a command: each rule's code, nothing changed by a refusal, one report, and no lock-out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.admit import Duplicate, Refused, admit
from agent.core.effects import Download, FileReport, RefreshReleases
from agent.core.events import Finished, ReleasesRefreshed
from agent.core.machine import step
from agent.core.model import Ended, Fault, Filed, FiledKind, Phase, RunNote, State, Trust
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import AppName, Digest, RunId, digest_of
from protocol.keys import ring_of
from protocol.lifecycle import AttemptState
from protocol.messages import InstalledRelease, Mode, PayloadType, RefusalReport
from protocol.reasons import Reason
from protocol.reasons import RejectCode as Code
from protocol.units import DAY, HOUR, Instant
from tests.agent.world import (
    BIG,
    DIRECTOR,
    FLEET,
    PROFILE,
    SHOP_1,
    SHOP_2,
    STRANGER,
    T0,
    TIME,
    TRUST,
    WHEEL,
    command,
    control,
    digest,
    kinds,
    new_key,
    new_state,
    ready,
    received,
    ref,
    run,
    signed,
    watching,
)

BEFORE = command(seq=T0 - 10, run="run-0", releases=(ref(SHOP_2),))
"""A command that was taken note of before each case."""


def used() -> State:
    """Return a device that knows `BEFORE`, which has ended, and has shop at floor 15."""
    state = ready(floors={AppName("shop"): 15}, runs={RunId("run-9"): RunNote(epoch=7)})
    return run(state, received(BEFORE), received(control("cancel", seq=T0 - 9, epoch=2, run="run-0"))).state


def judge(raw: bytes, state: State, *, trust: Trust = TRUST, **changes: Any) -> Any:
    known: dict[str, Any] = {
        "durable": state.durable,
        "trust": trust,
        "profile": PROFILE,
        "now": T0,
        "is_fresh": True,
        "is_refreshed": True,
    }
    return admit(raw, **{**known, **changes})


def wrong_type() -> bytes:
    return seal(encode(command()), PayloadType.HELLO, DIRECTOR)


def not_a_command() -> bytes:
    return seal(b'{"tenant":"acme"}', PayloadType.COMMAND, DIRECTOR)


# Each case: the bytes, the code, and whether somebody we trust signed them.
REFUSALS: dict[str, tuple[bytes, Code, bool]] = {
    "too long": (b"x" * 16_385, Code.TOO_LARGE, False),
    "no envelope": (b"{}", Code.MALFORMED, False),
    "no JSON": (b"\xff\xfe", Code.MALFORMED, False),
    "nested without end": (b"[" * 16_000, Code.MALFORMED, False),
    "another type": (wrong_type(), Code.WRONG_TYPE, False),
    "a stranger's key": (signed(command(), key=STRANGER), Code.UNSIGNED, False),
    "the time key": (signed(command(), key=TIME), Code.UNSIGNED, False),
    "no command inside": (not_a_command(), Code.MALFORMED, True),
    "another device": (signed(command(device="kiosk-18")), Code.WRONG_DEVICE, True),
    "another tenant": (signed(command(tenant="umbrella")), Code.WRONG_DEVICE, True),
    "the same number again": (signed(command(seq=T0 - 9)), Code.EQUIVOCATION, True),
    "an old number": (signed(command(seq=T0 - 100)), Code.REPLAY, True),
    "a number far ahead": (signed(command(seq=T0 + DAY + HOUR)), Code.SEQ_AHEAD, True),
    "expired": (signed(command(exp=T0)), Code.EXPIRED, True),
    "an unknown operation": (signed(command(op="format")), Code.UNKNOWN_OP, True),
    "an operation of later": (signed(command(op="uninstall")), Code.UNKNOWN_OP, True),
    "an old epoch": (signed(command(run="run-9", epoch=6)), Code.STALE_EPOCH, True),
    "an old epoch to go": (signed(control("go", seq=T0, epoch=6, run="run-9")), Code.STALE_EPOCH, True),
    "nothing to install": (signed(command(releases=())), Code.MALFORMED, True),
    "attempt zero": (signed(command(attempt=0)), Code.MALFORMED, True),
    "one app twice": (signed(command(releases=(ref(SHOP_2), ref(SHOP_2)))), Code.MALFORMED, True),
    "an unlisted path": (signed(command(releases=(ref(SHOP_2, path="x"),))), Code.NOT_RELEASED, True),
    "another hash": (
        signed(command(releases=(ref(SHOP_2, sha256=digest_of(b"evil")),))),
        Code.DIRECTOR_RELEASE_MISMATCH,
        True,
    ),
    "another length": (
        signed(command(releases=(ref(SHOP_2, length=9),))),
        Code.DIRECTOR_RELEASE_MISMATCH,
        True,
    ),
    "another counter": (
        signed(command(releases=(ref(SHOP_2, counter=21),))),
        Code.DIRECTOR_RELEASE_MISMATCH,
        True,
    ),
    "apps to install": (signed(command(apps=("shop",))), Code.MALFORMED, True),
    "a watch over releases": (signed(watching(releases=(ref(SHOP_2),))), Code.MALFORMED, True),
    "measures without a watch": (signed(command(measure_ms=1)), Code.MALFORMED, True),
    "a watch over nothing": (signed(watching(apps=())), Code.MALFORMED, True),
    "a watch over one app twice": (signed(watching(apps=("shop", "shop"))), Code.MALFORMED, True),
    "a watch without a span": (signed(watching(watch_ms=0)), Code.MALFORMED, True),
    "a watch by attempt zero": (signed(watching(attempt=0)), Code.MALFORMED, True),
    "a watch by an old number": (signed(watching(seq=T0 - 100)), Code.REPLAY, True),
    "a watch of an old epoch": (signed(watching(run="run-9", epoch=6)), Code.STALE_EPOCH, True),
    "a watch that has expired": (signed(watching(exp=T0)), Code.EXPIRED, True),
    "below the floor": (signed(command(releases=(ref(SHOP_1),))), Code.RELEASE_ROLLBACK, True),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_rule_has_its_code(name: str) -> None:
    raw, code, is_signed = REFUSALS[name]
    outcome = judge(raw, used())
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.is_signed) == (code, is_signed), outcome.detail


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_changes_nothing_is_reported_once_and_locks_nobody_out(name: str) -> None:
    raw, code, _ = REFUSALS[name]
    before = used()
    events = [replace(received(command()), raw=raw), ReleasesRefreshed(at=2_000)]
    stepped = run(before, *events, *events)
    reports = [e.report for e in stepped.effects if isinstance(e, FileReport)]
    assert [r.code for r in reports if isinstance(r, RefusalReport)] == [code]
    changed = {"report_seq", "filed", "refused", "refused_unsigned"}
    for field in before.durable.__struct_fields__:
        if field not in changed:
            assert getattr(stepped.state.durable, field) == getattr(before.durable, field), field
    good = run(stepped.state, received(command(seq=T0 + 1)))
    assert kinds(good.effects)[:1] == ["report:accepted"]


def test_without_fresh_time_nothing_new_is_taken() -> None:
    for changes in ({"now": None}, {"is_fresh": False}):
        outcome = judge(signed(command()), used(), **changes)
        assert isinstance(outcome, Refused)
        assert outcome.code == Code.NO_FRESH_TIME


def test_a_duplicate_is_known_even_without_time() -> None:
    assert isinstance(judge(signed(BEFORE), used(), now=None), Duplicate)


def test_an_expired_fleet_root_signs_nothing_not_even_by_the_time_floor() -> None:
    state = used()
    assert judge(signed(command()), state, now=FLEET.expires).code == Code.UNSIGNED
    late = replace(state, durable=replace(state.durable, time_floor=FLEET.expires))
    assert judge(signed(command()), late, now=None).code == Code.UNSIGNED


def test_an_expired_or_older_release_file_lists_nothing() -> None:
    state = used()
    assert TRUST.releases is not None
    expired = replace(TRUST, releases=replace(TRUST.releases, expires=T0))
    assert judge(signed(command()), state, trust=expired).code == Code.NOT_RELEASED
    older = replace(TRUST, releases=replace(TRUST.releases, version=2))
    assert judge(signed(command()), state, trust=older).code == Code.NOT_RELEASED
    assert judge(signed(command()), state, trust=replace(TRUST, releases=None)).code == Code.NOT_RELEASED


def test_an_unlisted_release_is_asked_for_once_before_it_is_refused() -> None:
    without = replace(TRUST, releases=None)
    first = run(
        ready(),
        received(command()),
        received(command()),
        received(command(seq=T0 + 1, run="r")),
        trust=without,
    )
    assert kinds(first.effects) == ["RefreshReleases"]
    assert len(first.state.session.pending) == 2
    listed = run(first.state, ReleasesRefreshed(at=2_100))
    assert kinds(listed.effects) == [
        "report:accepted",
        "report:downloading",
        "Download",
        "Alarm",
        "refused:busy",
    ]
    unlisted = run(first.state, ReleasesRefreshed(at=2_100), trust=without)
    assert kinds(unlisted.effects).count("refused:not-released") == 2
    assert not unlisted.state.session.pending


def test_commands_that_wait_for_the_release_file_are_bounded() -> None:
    without = replace(TRUST, releases=None)
    many = [received(command(seq=T0 + n, run=f"run-{n}")) for n in range(20)]
    stepped = run(ready(), *many, trust=without)
    assert len(stepped.state.session.pending) == 8
    assert sum(isinstance(e, RefreshReleases) for e in stepped.effects) == 1
    assert kinds(stepped.effects).count("Alarm") == 12


@pytest.mark.parametrize(
    ("release", "reason"), [(BIG, "wrong_hardware"), (WHEEL, "unsupported")], ids=["hardware", "installer"]
)
def test_a_release_that_does_not_fit_is_taken_note_of_and_rejected(release: Any, reason: str) -> None:
    wanted = command(releases=(ref(release),))
    stepped = run(ready(), received(wanted))
    assert kinds(stepped.effects) == [f"report:rejected:{reason}:old"]
    assert stepped.state.durable.seq == wanted.seq
    again = run(stepped.state, received(wanted), received(command(seq=T0 + 1, releases=wanted.releases)))
    assert kinds(again.effects) == [f"report:rejected:{reason}:old"] * 2


def test_one_unit_of_work_at_a_time() -> None:
    busy = run(ready(), received(command())).state
    other = command(seq=T0 + 1, run="run-2")
    assert judge(signed(other), busy).code == Code.BUSY
    swapped = command(seq=T0 + 1, releases=(ref(SHOP_1),))
    assert judge(signed(swapped), busy).code == Code.BUSY


def test_too_many_open_reports_are_a_reason_to_take_no_more_work() -> None:
    filed = tuple(Filed(report_seq=n, kind=FiledKind.STATE, digest=Digest("")) for n in range(1, 201))
    assert judge(signed(command()), ready(filed=filed)).code == Code.BUSY


def test_a_newer_command_renews_the_permission_and_restarts_nothing() -> None:
    busy = run(ready(), received(command())).state
    newer = command(seq=T0 + 1, epoch=4, not_after=Instant(T0 + 9 * HOUR))
    stepped = run(busy, received(newer))
    assert kinds(stepped.effects) == ["report:downloading"]
    work = stepped.state.durable.work
    assert work is not None
    assert (work.epoch, work.not_after, work.digest) == (4, T0 + 9 * HOUR, digest(newer))
    assert stepped.state.durable.run("run-1").epoch == 4
    old = run(stepped.state, received(command()))
    assert kinds(old.effects) == ["report:downloading"], "the first command is still known"


def test_an_attempt_that_ended_is_never_run_again() -> None:
    ended = Ended(run=RunId("run-1"), attempt=2, state=AttemptState.SUCCEEDED)
    state = ready(finals=(ended,), runs={RunId("run-1"): RunNote(epoch=1, ended=2)})
    repeated = run(state, received(command(attempt=2)))
    assert kinds(repeated.effects) == ["report:succeeded"]
    assert repeated.state.durable.work is None
    assert judge(signed(command(attempt=1)), state).code == Code.REPLAY
    assert kinds(run(state, received(command(attempt=3))).effects)[0] == "report:accepted"


def test_a_new_director_key_begins_a_new_generation() -> None:
    """The drill for a stolen director: even its highest number is worth nothing after a rotation."""
    fresh = new_key()
    state = run(ready(), received(command(seq=T0 + DAY))).state
    rotated = replace(TRUST, fleet=replace(FLEET, version=2, director=ring_of(fresh.public)))
    small = received(command(seq=1, run="run-1", epoch=2), key=fresh)
    stepped = run(state, small, trust=rotated)
    assert kinds(stepped.effects) == ["report:downloading"]
    assert (stepped.state.durable.generation, stepped.state.durable.seq) == (2, 1)
    old_key = run(stepped.state, received(command(seq=T0 + DAY + 1)), trust=rotated)
    assert kinds(old_key.effects) == ["Alarm", "refused:unsigned"]
    both = replace(rotated, fleet=replace(rotated.fleet, director={**FLEET.director, **rotated.fleet.director}))
    assert judge(signed(command(seq=T0 + DAY + 1)), stepped.state, trust=both).code == Code.REPLAY


def test_a_final_refusal_is_remembered_and_a_curable_one_judged_anew() -> None:
    final = received(command(releases=(ref(SHOP_2, length=9),)))
    state = run(ready(), final).state
    assert kinds(run(state, final).effects) == []
    early = received(command())
    refused = run(new_state(), early)
    assert kinds(refused.effects) == ["Alarm", "refused:no-fresh-time"]
    assert kinds(run(ready(refused=refused.state.durable.refused), early).effects)[0] == "report:accepted"


def test_a_hold_or_go_is_taken_and_told() -> None:
    busy = run(ready(), received(command())).state
    held = run(busy, received(control("hold", seq=T0 + 1, epoch=2)))
    assert kinds(held.effects) == ["report:downloading"]
    assert held.state.durable.run("run-1") == RunNote(epoch=2, mode=Mode.HOLD)


# --- hostile bytes ---

GOOD = signed(command())
READY = ready()
READY_TO_WATCH = ready(installed=(InstalledRelease(app="shop", version="1.0"),))


@given(st.integers(min_value=0, max_value=len(GOOD) * 8 - 1))
def test_a_flipped_bit_makes_no_other_command(bit: int) -> None:
    raw = bytearray(GOOD)
    raw[bit // 8] ^= 1 << bit % 8
    outcome = judge(bytes(raw), READY)
    assert isinstance(outcome, Refused) or outcome.command == command()


@given(st.integers(min_value=0, max_value=len(GOOD) - 1))
def test_a_truncated_command_is_refused(length: int) -> None:
    assert isinstance(judge(GOOD[:length], READY), Refused)


@given(st.binary(max_size=600))
def test_garbage_never_raises_and_the_outbox_stays_small(garbage: bytes) -> None:
    stepped = step(READY, replace(received(command()), raw=garbage), trust=TRUST, profile=PROFILE)
    assert stepped.state.durable.seq == READY.durable.seq


@given(st.data())
def test_a_signed_command_with_any_fields_never_raises(data: st.DataObject) -> None:
    ints = st.integers(min_value=0, max_value=2**53 - 1)
    wanted = command(
        seq=data.draw(ints),
        op=data.draw(st.sampled_from(["install", "watch", "hold", "go", "cancel", "run", "\x00"])),
        run=data.draw(st.text(min_size=1, max_size=20)),
        attempt=data.draw(ints),
        epoch=data.draw(ints),
        exp=data.draw(ints),
        not_after=data.draw(ints),
        releases=data.draw(st.sampled_from([(), (ref(SHOP_2),)])),
        apps=data.draw(st.sampled_from([(), ("shop",), ("till",)])),
        watch_ms=data.draw(ints),
        measure_ms=data.draw(ints),
    )
    try:
        raw = signed(wanted)
    except UnicodeEncodeError:
        return
    run(READY_TO_WATCH, replace(received(command()), raw=raw), ReleasesRefreshed(at=2_001))


def test_a_flood_of_garbage_is_bounded_in_number_and_rate() -> None:
    state, count = ready(), 0
    for n in range(1_000):
        stepped = run(state, replace(received(command()), raw=b"garbage %d" % n))
        state, count = stepped.state, count + kinds(stepped.effects).count("refused:malformed")
    assert count == 8
    assert len(state.durable.refused_unsigned) == 8
    settled = replace(state, durable=replace(state.durable, filed=()))
    for n in range(1_000):
        stepped = run(settled, replace(received(command()), raw=b"more %d" % n))
        settled = replace(stepped.state, durable=replace(stepped.state.durable, filed=()))
        count += kinds(stepped.effects).count("refused:malformed")
    assert count == 10, "two more, until the minute is over"
    late = run(settled, replace(received(command(), at=70_000), raw=b"late"))
    assert "refused:malformed" in kinds(late.effects)


def test_a_storm_of_duplicates_runs_once_and_is_answered_within_bounds() -> None:
    stepped = run(ready(), *[received(command())] * 1_000)
    told = kinds(stepped.effects)
    assert told.count("Download") == 1
    assert len(told) == 4, "accepted, downloading, Download, and one repeat that is not settled"


@given(st.lists(st.integers(min_value=0, max_value=5), min_size=1, max_size=30))
def test_no_order_of_deliveries_installs_an_attempt_twice(order: list[int]) -> None:
    """Replayed, reordered and duplicated commands of two attempts, with their ends in between."""
    commands = [
        command(),
        command(seq=T0 + 1),
        command(seq=T0 + 2, attempt=2),
        command(seq=T0 + 3, attempt=2),
    ]
    fault = Fault(reason=Reason.DOWNLOAD_FAILED)
    state, begun = ready(), []
    for index in order:
        work = state.durable.work
        if index < len(commands):
            event: Any = received(commands[index])
        else:
            attempt = 1 if work is None else work.attempt
            event = Finished(at=3_000, run=RunId("run-1"), attempt=attempt, phase=Phase.DOWNLOADING, fault=fault)
        stepped = run(state, event)
        begun += [e.work.attempt for e in stepped.effects if isinstance(e, Download)]
        state = stepped.state
    assert begun == sorted(set(begun))
