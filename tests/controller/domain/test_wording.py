"""One device began, and two devices did: sentences for people count in the singular, too."""

import pytest

from controller.domain import dry_runs, ramping, waves
from controller.domain.counters import Tally
from controller.domain.gates import checks
from controller.domain.gates.checks import Check, Webhook
from controller.domain.gates.judgement import Reading
from controller.domain.gates.mirror import Prefix
from controller.domain.gates.replay import Judged, Replayed, Stop
from controller.domain.model import Breach, RampRun, StageRun
from controller.domain.pipeline import DryRun, Pace, Proof, Ramp
from protocol.ids import StageName
from tests.controller.domain.kit import stage

READING = Reading(exposed=0, failed=0, stops_on=None, evidence=None)


def stop_at(exposed: int) -> Judged:
    return Judged(stop=Stop(number=0, at=0, failed=1, exposed=exposed, said=""))


def replayed(own: Judged, other: Judged, *, spared: int = 0, more: int = 0) -> str:
    name = StageName("all")
    return str(Replayed(stage=name, own=own, other=other, spared=spared, exposed_more=more, reading=READING))


def dry_run(*, exposed: int, stopped_at: int | None = None) -> str:
    tried = Breach(at=1, failed=1, exposed=1, evidence="")
    real = None if stopped_at is None else Breach(at=2, failed=2, exposed=stopped_at, evidence="")
    at_work = StageRun(tally=Tally(exposed=exposed), dry_runs={"strict": tried}, breach=real)
    return dry_runs.said(DryRun(name="strict"), at_work)


def ramp(*, at_work: int, risk: int) -> str:
    ramped = StageRun(ramp=RampRun(round=1, left=5, risk=risk), tally=Tally(in_progress=at_work, queued=9))
    return ramping.said(stage("all", pace=Pace(ramp=Ramp())), ramped)


@pytest.mark.parametrize(
    ("said", "one", "two"),
    [
        ([replayed(Judged(), stop_at(9), spared=count) for count in (1, 2)], "; 1 device began", "; 2 devices began"),
        ([replayed(stop_at(9), stop_at(9 - n)) for n in (1, 2)], " 1 device earlier", " 2 devices earlier"),
        ([replayed(stop_at(9), Judged(), more=n) for n in (1, 2)], "at most 1 more device ", "at most 2 more devices "),
        ([dry_run(exposed=1 + count) for count in (1, 2)], "; 1 device began", "; 2 devices began"),
        ([dry_run(exposed=9, stopped_at=1 + n) for n in (1, 2)], " 1 device earlier", " 2 devices earlier"),
        (
            [ramp(at_work=n, risk=n) for n in (1, 2)],
            "1 is at work; at most 1 failure ",
            "2 are at work; at most 2 failures ",
        ),
        (
            [waves.said(Prefix(counted=10, failed=10 - n, log=0), Proof()) for n in (1, 2)],
            "1 of the first 10 is well",
            "2 of the first 10 are well",
        ),
        (
            [checks.said(Check(name="e2e", source=Webhook(), needed=n), checks.begin(0)) for n in (1, 2)],
            "0 of 1 success in a row",
            "0 of 2 successes in a row",
        ),
    ],
)
def test_one_is_told_in_the_singular(said: list[str], one: str, two: str) -> None:
    assert one in said[0]
    assert two in said[1]
