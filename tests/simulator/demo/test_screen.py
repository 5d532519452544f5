import io
from collections.abc import Iterator

import msgspec
import pytest
from rich.console import Console

from controller.app.views import RunView
from simulator.demo.screen import RunTooLong, Screen
from simulator.demo.verdict import BAD, GOOD
from tests.simulator.demo.test_verdict import BAD_RUN, STORY, run, stage, target


def screen(*, is_terminal: bool, width: int = 200) -> tuple[Screen, io.StringIO]:
    written = io.StringIO()
    return Screen(Console(file=written, force_terminal=is_terminal, width=width, color_system=None)), written


def looks(*views: RunView) -> Iterator[RunView]:
    yield from views
    while True:
        yield views[-1]


def going(state: str) -> RunView:
    return msgspec.structs.replace(run(GOOD, "running", stage("canary", state, succeeded=1, queued=2)), ended_at=None)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_is_shown_until_it_ends(is_terminal: bool) -> None:
    shown, written = screen(is_terminal=is_terminal)
    views = looks(
        going("rolling_out"), going("soaking"), run(GOOD, "succeeded", stage("canary", "passed", succeeded=3))
    )
    assert shown.follow(lambda: next(views), seconds_max=5).state == "succeeded"
    assert "canary" in written.getvalue()
    assert "passed" in written.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_that_does_not_end_is_given_up_with_how_it_stands(is_terminal: bool) -> None:
    shown, _ = screen(is_terminal=is_terminal)
    with pytest.raises(RunTooLong, match="canary: rolling out"):
        shown.follow(lambda: going("rolling_out"), seconds_max=0.1)


def test_plain_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.demo.screen.LINE_SECONDS", 0.0)
    monkeypatch.setattr("simulator.demo.screen.POLL_SECONDS", 0.0)
    shown, written = screen(is_terminal=False)
    more = run(GOOD, "succeeded", stage("canary", "rolling_out", succeeded=3))
    views = looks(going("rolling_out"), going("rolling_out"), more)
    shown.follow(lambda: next(views), seconds_max=5)
    assert written.getvalue().count("rolling out; 3 succeeded") == 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_end_says_who_was_exposed_and_why(is_terminal: bool) -> None:
    shown, written = screen(is_terminal=is_terminal)
    shown.say("looking around")
    shown.tell(STORY)
    text = written.getvalue()
    for part in (
        f"Release {BAD} was installed on 2 devices, all in stage canary, which has 3 devices",
        "at most 4 at work at once, so at most 4 could be exposed",
        "box-1",
        "verify_failed: answers 500",
        f"3 on {GOOD}",
        "went through the built-in endpoint.",
        "The good run took 2.0 s, its waits for gates included: 1.5 installs a second.",
    ):
        assert part in text
    assert "NOT AS EXPECTED" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_end_is_broken_between_words_only(width: int) -> None:
    why = "stage canary failed: 1 of 4 started failed; stops on failure 1; the breaker says the same of it"
    detail = "not healthy within 4000 ms: http://127.0.0.1:43207/healthz answers 500, which is not what it should"
    bad = msgspec.structs.replace(
        BAD_RUN,
        view=msgspec.structs.replace(BAD_RUN.view, reason=why),
        targets=(target("box-1", attempt=1, detail=detail),),
    )
    story = msgspec.structs.replace(STORY, runs=(STORY.runs[0], bad))
    narrow, in_lines = screen(is_terminal=True, width=width)
    wide, in_one = screen(is_terminal=True, width=1_000)
    narrow.tell(story)
    wide.tell(story)
    assert in_lines.getvalue().split() == in_one.getvalue().split()
    assert max(len(line.rstrip()) for line in in_lines.getvalue().splitlines()) <= width
    assert len([line for line in in_lines.getvalue().splitlines() if line.startswith("harbour")]) == 2


def test_devices_that_were_spared_are_named_apart() -> None:
    shown, written = screen(is_terminal=False)
    spared = (
        target("sim-0003", attempt=1, state="cancelled", attempt_state="cancelled", reason="cancelled"),
        target("sim-0004", attempt=1, reason="download_failed"),
        target("sim-0005", attempt=1, reason="download_failed"),
    )
    bad = msgspec.structs.replace(BAD_RUN, targets=BAD_RUN.targets + spared)
    shown.tell(msgspec.structs.replace(STORY, runs=(STORY.runs[0], bad)))
    assert "was installed on 2 devices" in written.getvalue()
    assert "1 more was called back before they installed: sim-0003." in written.getvalue()
    assert "2 more were stopped by something else before they installed: sim-0004, sim-0005." in written.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_count_is_shown_while_it_grows(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    monkeypatch.setattr("simulator.demo.screen.LINE_SECONDS", 0.0)
    shown, written = screen(is_terminal=is_terminal)
    with shown.counting() as show:
        for count in (1, 1, 2):
            show(f"{count} of 2 enrolled")
    assert "1 of 2 enrolled" in written.getvalue()
    assert "2 of 2 enrolled" in written.getvalue()
    assert is_terminal or written.getvalue().count("1 of 2 enrolled") == 1


def test_plain_counts_come_now_and_then() -> None:
    shown, written = screen(is_terminal=False)
    with shown.counting() as show:
        show("1 of 2 enrolled")
    assert written.getvalue() == ""


def test_many_exposed_devices_are_not_all_listed_and_faults_are_named() -> None:
    shown, written = screen(is_terminal=False)
    many = msgspec.structs.replace(BAD_RUN, targets=tuple(target(f"sim-{n}", attempt=1) for n in range(20)))
    shown.tell(msgspec.structs.replace(STORY, runs=(STORY.runs[0], many)))
    assert "and 12 more" in written.getvalue()
    assert "NOT AS EXPECTED: release 1.1.0 reached 20 devices" in written.getvalue()


def test_a_story_that_broke_off_can_be_told() -> None:
    shown, written = screen(is_terminal=False)
    shown.tell(msgspec.structs.replace(STORY, runs=STORY.runs[:1]))
    assert "expected two runs" in written.getvalue()
