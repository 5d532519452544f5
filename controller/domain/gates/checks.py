"""A check: a question to something outside of the fleet, and what its answers come to. No data is never success.

The rules this module keeps:

1. A check passes by so many successes in a row, and each of them was said by somebody: silence adds none.
2. Only a success ends a row of failures; where nothing was learnt, a row of successes ends, and one of failures stays.
3. One question at a time; each has its number, and an answer to another one than that counts for nothing.
4. Silence for too long outweighs earlier successes of a check that is asked. Who tells by itself is told nothing twice:
   its success stays.

>>> check = Check(name="errors", source=Http(url="https://shop.example/health"), needed=2)
>>> begun = begin(0)
>>> asked(check, begun, 0).sequence
1
>>> once = answered(check, asked(check, begun, 0), Answer(kind=AnswerKind.OK), now=5, sequence=1)
>>> verdict(check, once, 5), verdict(check, answered(check, once, Answer(kind=AnswerKind.OK), now=6), 6)
(<Verdict.WAIT: 'wait'>, <Verdict.PASS: 'pass'>)

Times are in the run's own time. Answers of Spinnaker's monitored deployments and Argo's `Inconclusive` are the models.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from controller.domain.wording import counted
from protocol.units import MINUTE, SECOND, Millis

CHECKS_MAX: Final = 16
"""The most checks of one stage."""
EVERY_MS_MIN: Final = Millis(5 * SECOND)
"""How often a check is asked at most."""
UNANSWERED_MS: Final = Millis(30 * SECOND)
"""A question that nobody has answered by then was not answered: whoever asked it may be no more."""
EVIDENCE_LENGTH_MAX: Final = 300
Count = Annotated[int, Meta(ge=1, le=1_000)]
Span = Annotated[int, Meta(ge=1)]


class Http(msgspec.Struct, frozen=True, kw_only=True, tag="http"):
    """A page: its status must lie in a range, and where there is a `pointer` (RFC 6901), its JSON has `equals` there.

    `equals` is a value as JSON text.
    """

    url: str
    status_min: int = 200
    status_max: int = 299
    pointer: str | None = None
    equals: str = "null"


class Prometheus(msgspec.Struct, frozen=True, kw_only=True, tag="prometheus"):
    """An instant query of Prometheus: every sample must be below, or above, a number. Exactly one of them is set."""

    url: str
    query: str
    below: float | None = None
    above: float | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True, tag="webhook"):
    """A build system, which tells by itself."""


Source = Http | Prometheus | Webhook


class Phase(StrEnum):
    """From when on a check is asked: the stage's success, or its opening."""

    SOAK = "soak"
    ROLLOUT = "rollout"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, how often, and what answers come to.

    `needed` successes in a row pass, `fails_after` failures in a row breach the gate, and `no_data_after_ms` without an
    answer hold the run. What a `dry_run` finds is told, and has no effect.
    """

    name: str
    source: Source
    every_ms: Annotated[int, Meta(ge=EVERY_MS_MIN)] = MINUTE
    needed: Count = 1
    fails_after: Count = 3
    no_data_after_ms: Span = Millis(10 * MINUTE)
    at: Phase = Phase.SOAK
    dry_run: bool = False


class AnswerKind(StrEnum):
    """What an answer says."""

    OK = "ok"
    FAILED = "failed"
    NO_DATA = "no_data"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt, and in words on what evidence."""

    kind: AnswerKind
    evidence: str = ""


class Verdict(StrEnum):
    """What the answers so far come to."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    WAIT = "wait"
    FAIL = "fail"
    NO_DATA = "no_data"


UNANSWERED: Final = Answer(kind=AnswerKind.NO_DATA, evidence="no answer came in time")


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A breach of the gate by a check: when, and what was known then."""

    at: int
    evidence: str


class CheckRun(msgspec.Struct, frozen=True, kw_only=True):
    """A check at work. `sequence` numbers its questions; one is out since `asked_at`, the next is due at `due_at`.

    `oks` and `failures` are in a row; `heard_at` is when data came last, or since when it is waited for; `told` is the
    verdict that the timeline knows, `breach` its newest failure; `is_settled` once a person has said that it passes.
    """

    due_at: int
    heard_at: int
    sequence: int = 0
    asked_at: int | None = None
    oks: int = 0
    failures: int = 0
    last: Answer | None = None
    last_at: int | None = None
    told: Verdict | None = None
    breach: Failure | None = None
    is_settled: bool = False


def begin(now: int) -> CheckRun:
    """Return a check that is asked from run time *now* on."""
    return CheckRun(due_at=now, heard_at=now)


def verdict(check: Check, at: CheckRun, now: int) -> Verdict:
    """Return what the answers so far come to, at run time *now*."""
    if at.is_settled:
        return Verdict.PASS
    if at.failures >= check.fails_after:
        return Verdict.FAIL
    has_passed = at.oks >= check.needed
    if has_passed and is_pushed(check):
        return Verdict.PASS
    if now >= at.heard_at + check.no_data_after_ms:
        return Verdict.NO_DATA
    return Verdict.PASS if has_passed else Verdict.WAIT


def is_pushed(check: Check) -> bool:
    """Say whether nobody asks, because the other side tells by itself."""
    return isinstance(check.source, Webhook)


def kind_of(check: Check) -> str:
    """Return which kind of a check it is: `http`, `prometheus` or `webhook`."""
    return str(check.source.__struct_config__.tag)


def is_askable(check: Check, at: CheckRun, now: int) -> bool:
    """Say whether the next question is due at run time *now*, and no earlier one is out."""
    return not is_pushed(check) and not at.is_settled and at.asked_at is None and now >= at.due_at


def asked(check: Check, at: CheckRun, now: int) -> CheckRun:
    """Return a check of which a question goes out at run time *now*."""
    return msgspec.structs.replace(at, sequence=at.sequence + 1, asked_at=now, due_at=now + check.every_ms)


def lapsed(check: Check, at: CheckRun, now: int) -> CheckRun:
    """Return a check whose question, if one has been out for too long, was not answered."""
    if at.asked_at is None or now < at.asked_at + UNANSWERED_MS:
        return at
    return answered(check, at, UNANSWERED, now=now, sequence=at.sequence)


def answered(check: Check, at: CheckRun, answer: Answer, *, now: int, sequence: int | None = None) -> CheckRun:
    """Return a check after an answer at run time *now*: to the question of that number, or told by itself (None)."""
    is_stale = sequence is not None and (at.asked_at is None or sequence != at.sequence)
    if is_stale or at.is_settled:
        return at
    is_known = answer.kind is not AnswerKind.NO_DATA
    failures = {AnswerKind.OK: 0, AnswerKind.FAILED: at.failures + 1, AnswerKind.NO_DATA: at.failures}
    return msgspec.structs.replace(
        at,
        asked_at=at.asked_at if sequence is None else None,
        oks=min(at.oks + 1, check.needed) if answer.kind is AnswerKind.OK else 0,
        failures=failures[answer.kind],
        heard_at=now if is_known else at.heard_at,
        last=msgspec.structs.replace(answer, evidence=answer.evidence[:EVIDENCE_LENGTH_MAX]),
        last_at=now,
    )


def decided(check: Check, at: CheckRun, answer: Answer, *, now: int) -> CheckRun:
    """Return a check after the word of a person, which is final where it says OK, and else failure enough."""
    after = answered(check, at, answer, now=now)
    if answer.kind is AnswerKind.OK:
        return msgspec.structs.replace(after, is_settled=True, asked_at=None)
    return msgspec.structs.replace(after, failures=max(after.failures, check.fails_after))


def breached(at: CheckRun, evidence: str, now: int) -> CheckRun:
    """Return a check that has breached its gate, with what was known then."""
    return msgspec.structs.replace(at, breach=Failure(at=now, evidence=evidence))


def resumed(at: CheckRun, now: int, *, has_failed: bool, is_silent: bool) -> CheckRun:
    """Return a check of a run that a person lets go on: it must still pass, and is asked at once.

    One that *is_silent*, which held the run, is waited for anew. What has failed so far counts on, unless the check
    *has_failed*, and so held the run: then a person has gone on over that.
    """
    asked_anew = msgspec.structs.replace(at, due_at=now, failures=0 if has_failed else at.failures)
    return msgspec.structs.replace(asked_anew, heard_at=now, told=None) if has_failed or is_silent else asked_anew


def dues(check: Check, at: CheckRun) -> list[int]:
    """Return the run times at which something of a check is due by itself."""
    if at.is_settled:
        return []
    found = [] if is_pushed(check) else [at.due_at if at.asked_at is None else at.asked_at + UNANSWERED_MS]
    is_lasting = is_pushed(check) and at.told is Verdict.PASS
    if not is_lasting and at.told not in {Verdict.FAIL, Verdict.NO_DATA}:
        found.append(at.heard_at + check.no_data_after_ms)
    return found


def said(check: Check, at: CheckRun | None) -> str:
    """Return where a check stands, in words.

    >>> said(Check(name="e2e", source=Webhook(), needed=2), begin(0))
    'check e2e: 0 of 2 successes in a row; no answer yet'
    """
    return f"check {check.name}: {'not asked yet' if at is None else found(check, at)}"


def found(check: Check, at: CheckRun) -> str:
    """Return what the answers of a check are so far, in words."""
    last = "no answer yet" if at.last is None else f"the last: {at.last.evidence or at.last.kind.value}"
    if at.is_settled:
        return f"passes by a person's word; {last}"
    wanted = counted(check.fails_after, "failure") if at.failures else counted(check.needed, "success", "successes")
    return f"{at.failures or at.oks} of {wanted} in a row; {last}"
