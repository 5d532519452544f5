"""What answers of a check come to: successes in a row pass, failures in a row fail, and silence never passes."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates import checks
from controller.domain.gates.checks import UNANSWERED_MS, Answer, AnswerKind, Check, CheckRun, Http, Verdict, Webhook

PAGE = Http(url="https://shop.example/health")
OK, FAILED, NO_DATA = (Answer(kind=kind, evidence=kind.value) for kind in AnswerKind)
LETTERS = {"o": OK, "f": FAILED, "n": NO_DATA}


def check(*, needed: int = 1, fails_after: int = 3, is_pushed: bool = False) -> Check:
    source = Webhook() if is_pushed else PAGE
    return Check(name="a", source=source, needed=needed, fails_after=fails_after, no_data_after_ms=600_000)


def after(definition: Check, letters: str) -> CheckRun:
    """Return a check that was answered so, one answer each minute, the first at once."""
    at = checks.begin(0)
    for minute, letter in enumerate(letters):
        now = minute * 60_000
        if not checks.is_pushed(definition):
            assert checks.is_askable(definition, at, now)
            at = checks.asked(definition, at, now)
        sequence = None if checks.is_pushed(definition) else at.sequence
        at = checks.answered(definition, at, LETTERS[letter], now=now, sequence=sequence)
    return at


@pytest.mark.parametrize(
    ("needed", "fails_after", "letters", "expected"),
    [
        (1, 3, "", Verdict.WAIT),
        (1, 3, "o", Verdict.PASS),
        (2, 3, "o", Verdict.WAIT),
        (2, 3, "oo", Verdict.PASS),
        (2, 3, "ofo", Verdict.WAIT),
        (2, 3, "ono", Verdict.WAIT),
        (1, 3, "on", Verdict.WAIT),
        (1, 3, "of", Verdict.WAIT),
        (1, 3, "fof", Verdict.WAIT),
        (1, 2, "fnf", Verdict.FAIL),
        (1, 3, "fff", Verdict.FAIL),
        (1, 3, "fffo", Verdict.PASS),
        (1, 1, "f", Verdict.FAIL),
        (1, 3, "nnnnn", Verdict.WAIT),
        (1, 3, "nnnnnnnnnnn", Verdict.NO_DATA),
        (1, 3, "onnnnnnnnnn", Verdict.NO_DATA),
        (1, 3, "onnnnnnnnno", Verdict.PASS),
    ],
)
def test_answers_come_to_a_verdict(needed: int, fails_after: int, letters: str, expected: Verdict) -> None:
    definition = check(needed=needed, fails_after=fails_after)
    now = max(0, len(letters) - 1) * 60_000
    assert checks.verdict(definition, after(definition, letters), now) is expected


def test_silence_outweighs_an_earlier_success_of_who_is_asked_but_not_of_who_tells_by_itself() -> None:
    for is_pushed, expected in ((False, Verdict.NO_DATA), (True, Verdict.PASS)):
        definition = check(is_pushed=is_pushed)
        assert checks.verdict(definition, after(definition, "o"), 599_999) is Verdict.PASS
        assert checks.verdict(definition, after(definition, "o"), 600_000) is expected


@given(st.text("fn", max_size=30), st.integers(1, 5), st.integers(0, 10_000_000), st.booleans(), st.data())
def test_no_course_of_answers_passes_without_enough_successes_in_a_row(
    letters: str, needed: int, now: int, is_pushed: bool, data: st.DataObject
) -> None:
    """Between other answers come fewer successes than are needed, as often as one likes."""
    course = "".join(letter + "o" * data.draw(st.integers(0, needed - 1)) for letter in letters)
    definition = check(needed=needed, is_pushed=is_pushed)
    assert checks.verdict(definition, after(definition, course), now) is not Verdict.PASS


@given(st.text("ofn", max_size=30), st.integers(1, 4), st.integers(0, 30 * 60_000))
def test_what_passes_was_said_by_as_many_successes_in_a_row_as_are_needed(letters: str, needed: int, late: int) -> None:
    definition = check(needed=needed)
    at = after(definition, letters)
    is_passed = checks.verdict(definition, at, len(letters) * 60_000 + late) is Verdict.PASS
    assert not is_passed or letters.endswith("o" * needed)


def test_an_answer_to_another_question_or_a_second_one_changes_nothing() -> None:
    definition = check(needed=2)
    first = checks.asked(definition, checks.begin(0), 0)
    once = checks.answered(definition, first, OK, now=1, sequence=1)
    assert checks.answered(definition, once, OK, now=2, sequence=1) == once
    second = checks.asked(definition, once, 60_000)
    assert checks.answered(definition, second, OK, now=60_001, sequence=1) == second


def test_a_question_is_out_alone_until_it_is_answered_or_lapses() -> None:
    definition = check()
    out = checks.asked(definition, checks.begin(0), 0)
    assert not checks.is_askable(definition, out, 60_000)
    assert checks.lapsed(definition, out, UNANSWERED_MS - 1) == out
    lapsed = checks.lapsed(definition, out, UNANSWERED_MS)
    assert (lapsed.asked_at, lapsed.last, lapsed.oks) == (None, checks.UNANSWERED, 0)
    assert checks.answered(definition, lapsed, OK, now=UNANSWERED_MS + 1, sequence=out.sequence) == lapsed
    assert checks.is_askable(definition, lapsed, 60_000)


def test_the_word_of_a_person_is_final_where_it_is_ok_and_failure_enough_where_not() -> None:
    definition = check(needed=5)
    passed = checks.decided(definition, checks.begin(0), OK, now=1)
    assert checks.verdict(definition, passed, 10_000_000) is Verdict.PASS
    assert checks.answered(definition, passed, FAILED, now=2) == passed
    assert not checks.is_askable(definition, passed, 10_000_000)
    assert checks.dues(definition, passed) == []
    assert checks.verdict(definition, checks.decided(definition, checks.begin(0), FAILED, now=1), 1) is Verdict.FAIL


def test_evidence_is_kept_as_far_as_it_is_short() -> None:
    long = Answer(kind=AnswerKind.OK, evidence="x" * 5_000)
    at = checks.answered(check(is_pushed=True), checks.begin(0), long, now=1)
    assert at.last is not None
    assert len(at.last.evidence) == checks.EVIDENCE_LENGTH_MAX
