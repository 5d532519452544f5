import io
from collections.abc import Iterator

import msgspec
import pytest
from rich.console import Console

from controller.app.views import RunView
from simulator.demo.scenes import GOOD, UNFIT
from simulator.demo.screen import RunTooLong, Screen
from tests.simulator.demo.stories import run, stage, with_model


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


def test_a_plain_line_says_once_that_a_model_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.demo.screen.POLL_SECONDS", 0.0)
    shown, written = screen(is_terminal=False)
    at_work = with_model(stage("canary", "rolling_out", queued=2), UNFIT, said="3 of 4 started failed")
    without = msgspec.structs.replace(going("rolling_out"), stages=(at_work,))
    views = looks(going("rolling_out"), without, without, run(GOOD, "succeeded", at_work))
    shown.follow(lambda: next(views), seconds_max=5)
    assert written.getvalue().count(f"canary: model {UNFIT} is quarantined: 3 of 4 started failed") == 1


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


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_title_is_a_sentence_on_a_line_of_its_own(is_terminal: bool) -> None:
    shown, written = screen(is_terminal=is_terminal)
    shown.title("a good release goes all the way")
    assert written.getvalue() == "\nA good release goes all the way.\n"
