"""Bugs in how checks decide: which answers count, what passes, and what failures and silence lead to."""

from typing import Any

import msgspec
import pytest

from controller.app import hooks
from controller.domain import checking
from controller.domain.gates import checks
from controller.domain.gates.checks import Answer, AnswerKind, Check, CheckRun, Verdict
from controller.domain.settle import checks as settling
from simulator.virtual.laws.checks import ChecksHold
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace


@planted("A stage with checks passes although they have yet to say so.", ChecksHold)
def stage_passes_while_checks_wait(patch: pytest.MonkeyPatch) -> None:
    def around(passes: Any) -> Any:
        def hopeful(check: Check, at: CheckRun | None, now: int) -> bool:
            is_waiting = at is not None and checks.verdict(check, at, now) is Verdict.WAIT
            return is_waiting or passes(check, at, now)

        return hopeful

    wrap(patch, checking, "_passes", around)


@planted("Where nothing was learnt, nothing was wrong.", ChecksHold, first_seed=240)
def silence_counts_as_success(patch: pytest.MonkeyPatch) -> None:
    def around(answered: Any) -> Any:
        def forgiving(check: Check, at: CheckRun, answer: Answer, *, now: int, sequence: int | None = None) -> CheckRun:
            after: CheckRun = answered(check, at, answer, now=now, sequence=sequence)
            return replace(after, oks=at.oks + 1) if answer.kind is AnswerKind.NO_DATA else after

        return forgiving

    wrap(patch, checks, "answered", around)


@planted("An answer to an earlier question counts.", ChecksHold, first_seed=130)
def stale_answer_counts(patch: pytest.MonkeyPatch) -> None:
    def around(answered: Any) -> Any:
        def trusting(check: Check, at: CheckRun, answer: Answer, *, now: int, sequence: int | None = None) -> CheckRun:
            after: CheckRun = answered(check, at, answer, now=now)
            return after if sequence is None else replace(after, asked_at=None)

        return trusting

    wrap(patch, checks, "answered", around)


@planted("A check that fails breaches nothing.", ChecksHold, first_seed=30)
def failed_check_breaches_nothing(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, settling, "_breach", lambda _: lambda _decision, _index, _check: None)


@planted("A run whose check nobody answers goes on.", ChecksHold)
def silence_holds_nothing(patch: pytest.MonkeyPatch) -> None:
    def around(verdict: Any) -> Any:
        def patient(check: Check, at: CheckRun, now: int) -> Verdict:
            found: Verdict = verdict(check, at, now)
            return Verdict.WAIT if found is Verdict.NO_DATA else found

        return patient

    wrap(patch, checks, "verdict", around)


@planted("What a build system says twice in one delivery counts twice.", ChecksHold, first_seed=30)
def delivery_counts_as_two_answers(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hooks, "require_new", lambda _: lambda _advance, _job, _delivery: None)
