"""Following a run: what is drawn, what is printed, and how it ends."""

# ruff: noqa: E501 - the snapshot is as wide as it is drawn

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from controller.app.views import ApprovalView, BreachView, CheckView, Counters, MetricView, ModelView, RunView
from controller.cli.progress import BAR_WIDTH, bar, gate_lines, render_run, state_of
from controller.cli.pulse import Pulse
from protocol.units import Instant
from tests.controller.cli.conftest import Invoke
from tests.controller.http.fake import AT, COMPARED, COUNTERS, PROOF, RUN, SLOWER, FakeApp

replace = msgspec.structs.replace


def drawn(run: RunView, pulse: Pulse | None = None) -> str:
    console = Console(width=140, record=True, file=None, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_run(run, pulse))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


SNAPSHOT = """\
▶ run-1  running  shop 2.1.0  job shop-update  pipeline shop r3
├── ✓ canary           passed
│   ████████████████████████████████  5 devices: 5 succeeded
│   gate: 0 of 5 failed, stops above 0
└── ▶ rest             rolling out
    ███████████████▒xtr-············  100 devices: 50 succeeded, 5 in progress, 2 failed, 1 timed out, 1 rejected, 1 removed, 40 queued
    gate: 2 of 59 failed, stops above 5 % (3)"""


def test_a_run_is_drawn_as_a_tree() -> None:
    assert drawn(RUN) == SNAPSHOT


def test_rate_and_time_left_are_drawn() -> None:
    pulse = Pulse()
    before = replace(RUN.stages[1], counters=replace(COUNTERS, queued=70, succeeded=20))
    pulse.note(replace(RUN, stages=(RUN.stages[0], before)), AT)
    assert "/min" not in drawn(RUN, pulse)
    pulse.note(RUN, Instant(AT + 60_000))
    assert "30/min  1m left" in drawn(RUN, pulse)
    assert "/min" not in drawn(replace(RUN, paused=True), pulse)
    pulse.note(RUN, Instant(AT + 200_000))
    assert "/min" not in drawn(RUN, pulse)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"paused": True, "pause_reasons": ("breach:rest",)}, "running, paused (breach:rest)"),
        ({"paused": True, "pause_reasons": ("operator:crashes",)}, "running, paused (crashes)"),
        ({"waiting": True}, "running, waiting for a promotion"),
        ({"state": "failed", "reason": "gate of rest", "ended_at": AT, "paused": True}, "failed, gate of rest"),
    ],
)
def test_a_state_in_words(change: dict[str, object], words: str) -> None:
    assert state_of(replace(RUN, **change)) == words


def left(*, queued: int, in_progress: int = 0, **changes: Any) -> RunView:
    """Return a run of which so many devices are not done."""
    counters = Counters(succeeded=50, queued=queued, in_progress=in_progress)
    return replace(RUN, stages=(RUN.stages[0], replace(RUN.stages[1], counters=counters, **changes)))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (left(queued=1, blocked={"held": 1}), "running, waiting for 1 device that is held or pinned"),
        (left(queued=3, blocked={"held": 1, "pinned": 2}), "running, waiting for 3 devices that are held or pinned"),
        (left(queued=2, blocked={"held": 2}, state="passed"), "running, waiting for 2 devices that are held or pinned"),
        (left(queued=2, blocked={"held": 1}), "running"),
        (left(queued=2, blocked={"held": 1, "window": 1}), "running"),
        (left(queued=1, in_progress=1, blocked={"held": 1}), "running"),
        (left(queued=0, state="soaking"), "running"),
    ],
)
def test_a_run_whose_last_devices_are_held_says_that_it_waits_for_a_person(run: RunView, words: str) -> None:
    assert state_of(run) == words


def test_a_pause_is_told_before_who_is_held() -> None:
    run = replace(left(queued=1, blocked={"held": 1}), paused=True, pause_reasons=("operator:lunch",))
    assert state_of(run) == "running, paused (lunch)"


def test_a_wait_for_held_devices_ends_in_time_and_says_so(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.get"] = left(queued=1, blocked={"held": 1})
    done = tidegate("run", "watch", "run-1", "--timeout", "1ms")
    assert done.exit_code == 3
    assert "has not ended in time: it is running, waiting for 1 device that is held or pinned" in done.stderr


def test_a_stage_that_passes_by_proof_says_how_far_that_has_come() -> None:
    rest = replace(RUN.stages[1], gate=replace(RUN.stages[1].gate, proof=PROOF))
    text = drawn(replace(RUN, stages=(rest,)))
    assert "proof: 70 of the first 70 are well; proved (fewer than 5 % fail, beta 5 %)" in text


def test_stages_that_are_not_open_say_what_they_wait_for() -> None:
    blocked = replace(RUN.stages[1], state="blocked", opened_at=None)
    skipped = replace(RUN.stages[1], state="skipped", reason="empty", needs=(), opened_at=None)
    text = drawn(replace(RUN, stages=(blocked, skipped)))
    assert "○ rest             blocked             after canary" in text
    assert "↷ rest             skipped             empty" in text


def test_quarantined_models_and_the_one_that_is_next_are_named() -> None:
    breach = BreachView(at=AT, failed=5, exposed=9, said="5 of 9 started failed")
    models = (
        ModelView(model="kiosk-3", targets=20, exposed=9, failed=5, stops_on=4, is_quarantined=True, breach=breach),
        ModelView(model="kiosk-1", targets=80, exposed=50, failed=1, stops_on=7),
        ModelView(model="", targets=3, exposed=1, failed=0, stops_on=2),
    )
    rest = replace(RUN.stages[1], gate=replace(RUN.stages[1].gate, models=models, closest="kiosk-1"))
    text = drawn(replace(RUN, stages=(rest,)))
    assert "model kiosk-3 is quarantined: 5 of 9 started failed" in text
    assert "closest: model kiosk-1, 1 of 50 started failed; stops on failure 7" in text
    assert "each other" not in text


def test_a_control_group_says_what_is_known_and_who_is_still_held_back() -> None:
    rest = RUN.stages[1]
    held, freed = (replace(rest, gate=replace(rest.gate, control=replace(COMPARED, left=left))) for left in (5, 0))
    line = "control: 2 of 95 updated crashed, 1 of 5 held back; evidence 3.1 of 200"
    assert f"{line}; 5 held back" in drawn(replace(RUN, stages=(held,)))
    assert f"{line};" not in drawn(replace(RUN, stages=(freed,)))
    assert line in drawn(replace(RUN, stages=(freed,)))


@pytest.mark.parametrize(
    ("metric", "ends", "style"),
    [
        (SLOWER, "; 3 devices compared with nobody", "yellow"),
        (replace(SLOWER, unpaired=0), "", "yellow"),
        (replace(SLOWER, unpaired=0, value=0.4), "", "bright_black"),
        (replace(SLOWER, unpaired=0, is_breached=True), "", "bold red"),
    ],
)
def test_a_metric_says_what_is_known_of_it_and_who_is_compared_with_nobody(
    metric: MetricView, ends: str, style: str
) -> None:
    rest = RUN.stages[1]
    line = gate_lines(replace(rest, gate=replace(rest.gate, control=replace(COMPARED, metrics=(metric,)))))[-1]
    assert line.plain == f"metric scan_ms: {SLOWER.said}{ends}"
    assert line.style == style


def test_checks_say_where_they_stand_and_which_are_on_trial() -> None:
    failing = CheckView(
        name="shop", kind="http", asked=True, verdict="fail", said="check shop: 3 of 3 failures in a row; the last: 503"
    )
    waiting = CheckView(
        name="e2e", kind="webhook", asked=False, verdict="wait", said="check e2e: not asked yet", dry_run=True
    )
    text = drawn(replace(RUN, stages=(replace(RUN.stages[1], checks=(failing, waiting)),)))
    assert "check shop: 3 of 3 failures in a row; the last: 503" in text
    assert "check e2e: not asked yet (dry run)" in text


def test_a_stage_that_asks_for_approvals_says_who_gave_one_and_how_many_are_missing() -> None:
    asks = replace(RUN.stages[0], state="awaiting_promotion", opened_at=None, approvals_missing=2)
    bob = ApprovalView(by="bob", at=AT, reason="")
    some, all_ = (
        replace(asks, approvals=(bob,), approvals_missing=1),
        replace(asks, approvals=(bob,), approvals_missing=0),
    )
    text = drawn(replace(RUN, stages=(asks, some, all_)))
    assert "2 more to approve" in text
    assert "approved by bob; 1 more to approve" in text
    assert text.rstrip().endswith("approved by bob")


def test_a_passed_stage_says_how_many_devices_are_still_at_work() -> None:
    passed = replace(RUN.stages[1], state="passed")
    assert "✓ rest             passed, tail of 5" in drawn(replace(RUN, stages=(passed,)))


counts = st.integers(0, 1_000_000) | st.just(0)


@given(st.builds(Counters, **dict.fromkeys(Counters.__struct_fields__, counts)), st.integers(8, 60))
def test_a_bar_fills_its_width_and_shows_every_class(counters: Counters, width: int) -> None:
    text = bar(counters, width).plain
    present = sum(1 for name in counters.__struct_fields__ if getattr(counters, name))
    assert len(text) == width
    assert len(set(text)) == max(present, 1)


def test_an_empty_stage_has_an_empty_bar() -> None:
    assert bar(Counters()).plain == "·" * BAR_WIDTH


ENDED = replace(
    RUN,
    state="succeeded",
    ended_at=Instant(AT + 90_000),
    stages=(RUN.stages[0], replace(RUN.stages[1], state="passed")),
)
FAILED = replace(ENDED, state="failed", reason="the gate of rest was breached")


def test_watching_prints_what_changes_and_ends_with_the_run(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.get"] = [RUN, RUN, ENDED]
    result = tidegate("run", "watch", "run-1")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "run-1: running; shop 2.1.0, job shop-update, pipeline shop r3",
        "canary: passed; 5 succeeded",
        "rest: rolling out; 50 succeeded, 5 in progress, 2 failed, 1 timed out, 1 rejected, 1 removed, 40 queued",
        "run-1: succeeded; shop 2.1.0, job shop-update, pipeline shop r3",
        "rest: passed, tail of 5; 50 succeeded, 5 in progress, 2 failed, 1 timed out, 1 rejected, 1 removed, 40 queued",
    ]


def test_an_unsuccessful_end_is_5(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.get"] = [RUN, FAILED]
    result = tidegate("run", "start", "shop-update", "--wait")
    assert result.exit_code == 5
    assert "the gate of rest was breached" in result.stderr


def test_programs_get_the_ended_run_as_data(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.get"] = [RUN, ENDED]
    result = tidegate("run", "watch", "run-1", "-o", "json")
    assert json.loads(result.stdout)["state"] == "succeeded"
    assert "run-1: running" in result.stderr


def test_waiting_ends_with_3_when_time_is_up(tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("run", "watch", "run-1", "--timeout", "1ms")
    assert result.exit_code == 3
    assert "has not ended in time" in result.stderr


def test_an_interrupt_ends_with_3(tidegate: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("controller.cli.watch.time.sleep", interrupt)
    assert tidegate("run", "watch", "run-1").exit_code == 3


def test_the_live_tree_is_drawn_on_a_terminal(tidegate: Invoke, fake: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda _self: True))
    fake.answers["runs.get"] = [RUN, ENDED]
    result = tidegate("run", "watch", "run-1")
    assert result.exit_code == 0
    assert "\x1b[1mrest" in result.stdout
    assert result.stdout.rstrip().endswith("\x1b[?25h")
