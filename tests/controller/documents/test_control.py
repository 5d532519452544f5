"""A control group in files: read, written back, and every fault with its place."""

import pytest

from controller.documents import InvalidDefinition, load, render
from controller.domain.pipeline import Control, Pipeline

GATE = "kind: Pipeline\nname: shop\nstages:\n- name: eu\n  gate: {{soak: 1h, control: {}}}\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("5%", Control()),
        ("'12.5'", Control(share_percent=12.5)),
        ("{}", Control()),
        ("{share: 50%}", Control(share_percent=50.0)),
        ("{tolerated: 1.5}", Control(tolerated=1.5)),
        ("{share: 10%, alpha: 0.5%}", Control(share_percent=10.0, alpha_percent=0.5)),
    ],
)
def test_a_control_group_is_read_and_written(written: str, expected: Control) -> None:
    [pipeline] = load(GATE.format(written))
    assert isinstance(pipeline, Pipeline)
    assert pipeline.stages[0].gate.control == expected
    assert load(render(pipeline)) == (pipeline,)


@pytest.mark.parametrize(
    ("written", "place", "said"),
    [
        ("0%", "", "expected a share above 0% and at most 50%, found '0%'"),
        ("51%", "", "expected a share above 0% and at most 50%"),
        ("many", "", "expected"),
        ("{share: 60%}", ".share", "50"),
        ("{tolerated: 0.5}", ".tolerated", "1"),
        ("{percent: 5%}", ".percent", "unknown field"),
    ],
)
def test_faults_of_a_control_group_have_their_places(written: str, place: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load(GATE.format(written))
    [fault] = caught.value.faults
    assert fault.place == f"stages[0].gate.control{place}"
    assert said in fault.message


def test_a_control_group_without_a_soak_is_refused() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load(GATE.format("5%").replace("soak: 1h, ", ""))
    assert "control needs a soak: nothing is watched without one" in caught.value.faults[0].message


def test_no_rollback_holds_anybody_back() -> None:
    text = "kind: Pipeline\nname: shop\nrollback: {gate: {soak: 1h, control: 5%}}\nstages:\n- name: eu\n"
    with pytest.raises(InvalidDefinition) as caught:
        load(text)
    assert [fault.place for fault in caught.value.faults] == ["rollback.gate.control"]
