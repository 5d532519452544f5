"""What a seed draws of checks: in some worlds stages ask outside, and who is asked answers as they please.

It is drawn from a chance of its own, so that all other worlds are the same with it and without.
"""

import random
from typing import Final

import msgspec

from controller.domain.gates.checks import UNANSWERED_MS, AnswerKind, Check, Http, Phase, Webhook
from controller.domain.pipeline import Gate, OnBreach, Pipeline, Stage
from protocol.units import MINUTE, SECOND
from simulator.virtual.builds import EASY

CHECKS_EVERY: Final = 5
HOOK: Final = "checks"
"""The hook of every job in such a world."""
CHAOS_MS: Final = 6 * MINUTE
"""How long such a world lasts at least: what is asked needs time to be answered."""
LATE_MS_MAX: Final = 2 * UNANSWERED_MS


class ChecksDraw(msgspec.Struct, frozen=True, kw_only=True):
    """How those answer who are asked.

    How likely each answer is beside the others; the share of answers that take longer than anybody waits, and how long
    others take at most, in milliseconds; the mean time between two words of those who tell by themselves.
    """

    weights: dict[AnswerKind, int]
    late: float
    delay_ms: int
    tell_gap_ms: int


def draw_checks(chance: random.Random) -> ChecksDraw:
    """Return how those answer who are asked."""
    return ChecksDraw(
        weights={
            AnswerKind.OK: chance.choice((1, 4, 8)),
            AnswerKind.FAILED: chance.choice((0, 1, 4)),
            AnswerKind.NO_DATA: chance.choice((0, 1, 4)),
        },
        late=chance.choice((0.0, 0.1, 0.4)),
        delay_ms=chance.choice((10, 2_000, UNANSWERED_MS)),
        tell_gap_ms=chance.choice((3 * SECOND, 15 * SECOND)),
    )


def checked(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline of which some stages have checks, and at times its rollback, too.

    Those stages open by themselves and succeed easily, so that there is something to ask.
    """
    stages = tuple(_checked(chance, stage) if chance.randrange(3) else stage for stage in pipeline.stages)
    rules = pipeline.rollback
    if not chance.randrange(3):
        rules = msgspec.structs.replace(rules, gate=_asking(chance, rules.gate))
    return msgspec.structs.replace(pipeline, stages=stages, rollback=rules)


def _checked(chance: random.Random, stage: Stage) -> Stage:
    success = chance.choice((0.0, 50.0, stage.gate.success_percent))
    gate = msgspec.structs.replace(_asking(chance, stage.gate), success_percent=success)
    return msgspec.structs.replace(stage, gate=gate, **EASY)


def _asking(chance: random.Random, gate: Gate) -> Gate:
    checks = tuple(_check(chance, f"c{number}") for number in range(chance.choice((1, 1, 2))))
    on_breach = chance.choice((gate.on_breach, *OnBreach))
    return msgspec.structs.replace(gate, checks=checks, on_breach=on_breach)


def _check(chance: random.Random, name: str) -> Check:
    return Check(
        name=name,
        source=chance.choice((Http(url=f"https://{name}.example"), Http(url=f"https://{name}.example"), Webhook())),
        every_ms=chance.choice((5 * SECOND, 20 * SECOND)),
        needed=chance.choice((1, 2, 3)),
        fails_after=chance.choice((1, 2, 3)),
        no_data_after_ms=chance.choice((15 * SECOND, 40 * SECOND, 120 * SECOND)),
        at=chance.choice(tuple(Phase)),
        dry_run=not chance.randrange(5),
    )
