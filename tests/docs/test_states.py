"""The page of states says all that the tables of the code say, and no word of it is left over."""

from typing import Final

import pytest

from tests.docs import machines
from tests.docs.machines import MACHINES, WORDS, diagram, drawn, steps_of

STEPS: Final = {
    machine: {(before.value, after.value) for before, after in steps_of(transitions)}
    for machine, transitions in MACHINES.items()
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_diagram_shows_exactly_the_steps_of_the_table(machine: str) -> None:
    assert drawn(diagram(machine), machine) == STEPS[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_diagram_with_an_arrow_more_or_less_is_told_from_the_table(machine: str) -> None:
    text = diagram(machine)
    arrow = next(line for line in text.splitlines() if "-->" in line and "[*]" not in line)
    assert drawn(text.replace(arrow, ""), machine) != STEPS[machine]
    assert drawn(f"{text}\n    succeeded --> failed", machine) != STEPS[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_has_words_and_no_words_lack_their_state(machine: str) -> None:
    assert set(WORDS[machine]["states"]) == {state.value for state in MACHINES[machine]}
    assert all(WORDS[machine]["states"].values())


@pytest.mark.parametrize("machine", MACHINES)
def test_every_step_has_words_and_no_words_lack_their_step(machine: str) -> None:
    known = {f"{before} -> {after}" for before, after in STEPS[machine]} | {f"* -> {to}" for _, to in STEPS[machine]}
    assert set(WORDS[machine]["steps"]) <= known
    assert all(machines.words_of(machine, before, after) for before, after in STEPS[machine])


def test_a_step_without_words_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"\* -> pending"):
        machines.words_of("run", "running", "pending")


def test_there_are_no_words_for_other_machines() -> None:
    assert set(WORDS) == set(MACHINES)
