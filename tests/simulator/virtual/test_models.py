"""Hardware models of worlds: who has several, and that what gates make of them may run."""

from controller.domain.pipeline import OnModel
from controller.domain.validation import validate
from simulator.virtual.draws import draw

SEEDS = range(1, 301)
SEVERAL = [draws for draws in map(draw, SEEDS) if len(draws.models.names) > 1]
TESTED = [draws for draws in SEVERAL if draws.builds.models]


def test_some_worlds_have_several_models_and_most_have_one() -> None:
    assert len(SEEDS) / 10 < len(SEVERAL) < len(SEEDS) / 3
    assert len(SEEDS) / 20 < len(TESTED)


def test_every_device_is_of_a_model_that_there_is() -> None:
    for draws in map(draw, SEEDS):
        models = {draws.models.of(number) for number in range(len(draws.devices))}
        assert models <= set(draws.models.names)
        assert set(draws.builds.models) <= set(draws.models.names)


def test_pipelines_that_tell_models_apart_may_run() -> None:
    for draws in TESTED:
        assert [validate(definition) for definition in draws.pipelines] == [()] * len(draws.pipelines)
    stages = [stage for draws in TESTED for definition in draws.pipelines for stage in definition.stages]
    assert {stage.gate.models for stage in stages} == set(OnModel)
