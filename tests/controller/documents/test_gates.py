"""A file of one gate, and every fault in it with its place."""

import pytest

from controller.documents import InvalidDefinition, load, load_gate, render
from controller.domain.pipeline import DryRun, FailureLimit, Gate, OnBreach, Pipeline, Proof, Sequential, Stage
from protocol.ids import StageName


def test_a_gate_is_what_it_is_in_a_stage() -> None:
    text = "success: 95%\nfailures: {above: 1%, more_than: 3, min_sample: 20}\non_breach: pause"
    assert load_gate(text) == Gate(
        success_percent=95,
        sequential=Sequential(above=1),
        failures=FailureLimit(count=3, min_sample=20),
        on_breach=OnBreach.PAUSE,
    )


def test_json_is_read_as_well() -> None:
    assert load_gate(b'{"failures": "ignored"}') == Gate(sequential=None)


@pytest.mark.parametrize(
    ("text", "proof"),
    [
        ("success: 95%", None),
        ("proof: {}", Proof(below=5, beta_percent=1)),
        ("proof: {below: 2.5%, beta: 5%}", Proof(below=2.5, beta_percent=5)),
    ],
)
def test_a_proof_is_read_and_written(text: str, proof: Proof | None) -> None:
    gate = load_gate(text)
    assert gate.proof == proof
    pipeline = Pipeline(name="shop", stages=(Stage(name=StageName("all"), gate=gate),))
    assert load(render(pipeline)) == (pipeline,)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", [" | 1:1: 0 documents: expected one gate, such as failures: {above: 1%}"]),
        ("- 1", [" | 1:1: expected a mapping of fields, found a list"]),
        ("failure: 1", ["failure | 1:1: unknown field; did you mean 'failures'?"]),
        ("failures:\n  abov: 1%", ["failures.abov | 2:3: unknown field; did you mean 'above'?"]),
        ("failures: 5%", ["failures | 1:11: expected rules such as {above: 2%}, or 'ignored', found '5%'"]),
        ("failures: [1]", ["failures | 1:11: expected rules such as {above: 2%}, or 'ignored', found a list"]),
        ("failures: {above: 60%}", ["failures.above | 1:19: expected at most 50, found '60%'"]),
        ("failures: {more_than: 1, alpha: 1%}", ["failures | 1:11: 'alpha' is of the test that 'above' asks for"]),
        ("proof: 5%", ["proof | 1:8: expected a mapping of fields, found '5%'"]),
        ("proof: {belo: 5%}", ["proof.belo | 1:9: unknown field; did you mean 'below'?"]),
        ("proof: {below: 60%}", ["proof.below | 1:16: expected at most 50, found '60%'"]),
        (
            "{proof: {}, straggler_after: 1h}",
            ["straggler_after | 1:30: a proof waits for no stragglers: expected it without straggler_after"],
        ),
    ],
)
def test_faults_have_their_places(text: str, faults: list[str]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load_gate(text)
    assert [f"{fault.place} | {fault.message}" for fault in caught.value.faults] == faults


TRIED = """
kind: Pipeline
name: shop
stages:
- name: eu
  gate:
    dry_run:
    - {name: strict, failures: {above: 1%}}
    - {name: plain, failures: {more_than: 3, min_sample: 20}}
    - {name: usual}
"""


def test_rules_on_trial_are_read_and_written() -> None:
    [pipeline] = load(TRIED)
    assert isinstance(pipeline, Pipeline)
    assert pipeline.stages[0].gate.dry_run == (
        DryRun(name="strict", sequential=Sequential(above=1)),
        DryRun(name="plain", sequential=None, failures=FailureLimit(count=3, min_sample=20)),
        DryRun(name="usual"),
    )
    assert load(render(pipeline)) == (pipeline,)


def test_faults_of_rules_on_trial_have_their_places() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load(TRIED.replace("above: 1%", "alpha: 5%").replace("usual", "plain"))
    assert [fault.place for fault in caught.value.faults] == [
        "stages[0].gate.dry_run[0].failures",
        "stages[0].gate.dry_run[2].name",
    ]
