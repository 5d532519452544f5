"""Which stages take in devices that come to match after the membership was fixed.

A stage does so while it is rolling out: not while it soaks, for what is watched then must not change, and not with a
verdict. Newcomers count like all others, and do not keep a stage open that would end without them: it ends when its
devices of that moment are settled.
"""

from controller.domain import graph
from controller.domain.model import Plan, Run
from controller.domain.states import RunState, StageState


def open_stages(plan: Plan, run: Run) -> tuple[int, ...]:
    """Return the stages that take new devices now; a device goes to the first that matches, as stages open.

    A run over an earlier run takes none: it is over the devices of that.
    """
    if run.state is not RunState.RUNNING or run.is_stopped or plan.source is not None:
        return ()
    found = {
        stage.name: index
        for index, (stage, at_work) in enumerate(zip(plan.pipeline.stages, run.stages, strict=True))
        if stage.targets.include_new and at_work.state is StageState.ROLLING_OUT and at_work.is_frozen
    }
    if len(found) < 2:  # noqa: PLR2004 - nothing to bring into an order
        return tuple(found.values())
    order = graph.in_order({stage.name: stage.needs for stage in plan.pipeline.stages})
    return tuple(found[name] for name in order if name in found)
