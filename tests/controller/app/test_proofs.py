"""A stage that passes by proof, as an operator sees it."""

import pytest

from controller.domain.gates import mirror
from controller.domain.pipeline import Gate, Proof, Sequential
from protocol.reasons import Reason
from tests.controller.app.rig import Rig
from tests.controller.domain.kit import stage

PROOF = Proof(below=30, beta_percent=10)
ENOUGH = mirror.passes_after(0, below=0.3, beta=0.1)
NAMES = tuple(f"kiosk-{number:02}" for number in range(ENOUGH + 5))


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol(*NAMES)
    rig.connect(*NAMES)
    return rig


def test_it_is_shown_as_it_grows_and_passes_the_stage_while_others_are_at_work(rig: Rig) -> None:
    run = rig.start(stage("all", gate=Gate(proof=PROOF, sequential=Sequential(above=20))))
    rig.succeed(*NAMES[: ENOUGH - 1])
    proof = rig.view(run).stages[0].gate.proof
    assert proof is not None
    assert (proof.counted, proof.failed, proof.is_proved) == (ENOUGH - 1, 0, False)
    assert proof.said == f"{ENOUGH - 1} of the first {ENOUGH - 1} are well; {promise(passes_at=ENOUGH)}"
    assert (proof.below_percent, proof.beta_percent, proof.threshold) == (30, 10, 10)
    assert 1 < proof.value < proof.threshold
    rig.succeed(NAMES[ENOUGH - 1])
    passed = rig.view(run).stages[0]
    assert passed.gate.proof is not None
    assert (passed.state, passed.gate.proof.is_proved) == ("passed", True)
    assert passed.counters.in_progress == 5


def test_a_stage_that_cannot_prove_it_any_more_says_how_far_it_came(rig: Rig) -> None:
    run = rig.start(stage("all", gate=Gate(proof=PROOF, sequential=Sequential(above=50))))
    rig.fail(*NAMES[:3], reason=Reason.VERIFY_FAILED)
    rig.succeed(*NAMES[3:])
    rig.sleep(600_000)
    failed = rig.view(run).stages[0]
    assert failed.gate.proof is not None
    assert (failed.state, failed.reason) == ("failed", f"not proved: {failed.gate.proof.said}")


def promise(*, passes_at: int) -> str:
    return f"passes at {passes_at} with as many failures (fewer than 30 % fail, beta 10 %)"
