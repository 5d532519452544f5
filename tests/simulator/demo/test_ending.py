import msgspec
import pytest

from simulator.demo.scenes import BAD, GOOD, PICKY, REGIONAL, UNFIT
from tests.simulator.demo.stories import BAD_RUN, STORY, changed, target, with_stages
from tests.simulator.demo.test_screen import screen


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_end_says_who_was_exposed_and_why(is_terminal: bool) -> None:
    shown, written = screen(is_terminal=is_terminal)
    shown.say("looking around")
    shown.tell(STORY)
    text = written.getvalue()
    for part in (
        f"Release {BAD} failed in stage canary: 1 of 4 started devices failed.",
        "It was installed on 2 of the 3 devices there, at most 4 at once. They went back by themselves:",
        "box-1",
        "verify_failed: answers 500",
        f"Release {REGIONAL} failed in stage us",
        "It was installed on 1 of the 1 device there",
        f"Its other branch went on to its end: 2 devices took {REGIONAL}.",
        f"back to {GOOD}",
        f"A rollback took 2 devices back to {GOOD}, which they had before.",
        f"Release {PICKY} does not run on model {UNFIT}, which was quarantined.",
        "It was installed on 1 of the 1 device of that model. They went back by themselves:",
        f"All others went on to the end: 3 devices took {PICKY}.",
        "What the gates say (tidegate run status):",
        f"{BAD} canary  gate: 2 of 3 started failed; stops on failure 2",
        f"model {UNFIT} is quarantined: 3 of 4 started failed",
        f"Devices: 1 on {GOOD}, 3 on {PICKY}.",
        "went through the built-in endpoint.",
        "The good run took 2.0 s, its waits for gates and a held device included: 2.0 installs a second.",
        f"Release {GOOD} left sim-0001 out for a while (held by admin: on show at the fair).",
        "Once the hold was lifted, it succeeded.",
    ):
        assert part in text
    assert "NOT AS EXPECTED" not in text
    assert f"{GOOD} canary" not in text, "a gate that saw no failure says nothing"


@pytest.mark.parametrize("width", [80, 120])
def test_the_end_is_broken_between_words_only(width: int) -> None:
    why = "stage canary failed: 1 of 4 started failed; stops on failure 1; the breaker says the same of it"
    detail = "not healthy within 4000 ms: http://127.0.0.1:43207/healthz answers 500, which is not what it should"
    failed = msgspec.structs.replace(BAD_RUN.view.stages[0], reason=why)
    bad = changed(with_stages(BAD_RUN, failed), targets=(target("box-1", attempt=1, detail=detail),))
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
    bad = changed(BAD_RUN, targets=BAD_RUN.targets + spared)
    shown.tell(msgspec.structs.replace(STORY, runs=(STORY.runs[0], bad)))
    assert "was installed on 2 of the 3 devices" in written.getvalue()
    assert "1 more was called back before installing: sim-0003." in written.getvalue()
    assert "2 more were stopped by something else before installing: sim-0004, sim-0005." in written.getvalue()


def test_many_exposed_devices_are_not_all_listed_and_faults_are_named() -> None:
    shown, written = screen(is_terminal=False)
    many = changed(BAD_RUN, targets=tuple(target(f"sim-{n}", attempt=1) for n in range(20)))
    shown.tell(msgspec.structs.replace(STORY, runs=(STORY.runs[0], many, *STORY.runs[2:])))
    assert "and 16 more" in written.getvalue()
    assert "NOT AS EXPECTED: harbour 1.1.0: it reached 20 devices" in written.getvalue()


def test_a_story_that_broke_off_can_be_told() -> None:
    shown, written = screen(is_terminal=False)
    shown.tell(msgspec.structs.replace(STORY, runs=STORY.runs[:1]))
    assert "expected 5 scenes" in written.getvalue()
