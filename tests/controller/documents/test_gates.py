"""A file of one gate, and every fault in it with its place."""

import pytest

from controller.documents import InvalidDefinition, load_gate
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, Sequential


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
    ("text", "faults"),
    [
        ("", [" | 1:1: 0 documents: expected one gate, such as failures: {above: 1%}"]),
        ("- 1", [" | 1:1: expected a mapping of fields, found a list"]),
        ("failure: 1", ["failure | 1:1: unknown field; did you mean 'failures'?"]),
        ("failures:\n  abov: 1%", ["failures.abov | 2:3: unknown field; did you mean 'above'?"]),
        ("failures: {more_than: 1, alpha: 1%}", ["failures | 1:11: 'alpha' is of the test that 'above' asks for"]),
    ],
)
def test_faults_have_their_places(text: str, faults: list[str]) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load_gate(text)
    assert [f"{fault.place} | {fault.message}" for fault in caught.value.faults] == faults
