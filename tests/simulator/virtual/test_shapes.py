"""Shapes of worlds: who has one, and that what it draws may run."""

import pytest

from controller.domain.condition import parse
from controller.domain.validation import validate
from simulator.virtual.draws import Draws, draw
from simulator.virtual.laws.conditions import _TERM
from simulator.virtual.shapes import FLIGHT, STAGES_MAX

SEEDS = range(1, 201)
SHAPED = [draws for draws in map(draw, SEEDS) if draws.shape is not None]


def test_about_a_quarter_of_the_worlds_have_a_shape() -> None:
    assert len(SEEDS) / 8 < len(SHAPED) < len(SEEDS) / 2


@pytest.mark.parametrize("draws", SHAPED[:20], ids=lambda draws: f"seed {draws.seed}")
def test_all_that_a_pipeline_may_be_edited_to_may_run(draws: Draws) -> None:
    assert draws.shape is not None
    for edits, begun_with in zip(draws.shape.edits, draws.pipelines, strict=True):
        assert begun_with in edits
        assert [validate(definition) for definition in edits] == [()] * len(edits)
        assert {definition.name for definition in edits} == {begun_with.name}


def test_the_graphs_have_chains_fans_and_diamonds() -> None:
    stages = [stage for draws in SHAPED for pipeline in draws.pipelines for stage in pipeline.stages]
    assert {len(stage.needs) for stage in stages} == {0, 1, 2, 3}
    assert max(len(pipeline.stages) for draws in SHAPED for pipeline in draws.pipelines) == STAGES_MAX


def test_the_law_reads_every_condition_that_is_drawn() -> None:
    conditions = [stage.when for draws in SHAPED for one in draws.pipelines for stage in one.stages if stage.when]
    assert len(conditions) > len(SHAPED)
    for text in conditions:
        assert parse(text)
        assert len(_TERM.findall(text)) == 1 + text.count("&&") + text.count("||")


def test_some_leave_their_pace_open() -> None:
    given = [definition.parameters for draws in SHAPED for definition in draws.pipelines]
    assert {frozenset(parameters) for parameters in given} == {frozenset(), frozenset({FLIGHT})}
