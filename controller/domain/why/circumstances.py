"""What holds up every device of a run, or this device in every run."""

from collections.abc import Iterator

from controller.domain.states import RunState
from controller.domain.why.case import Case
from controller.domain.why.fact import Code, Fact


def held(case: Case) -> Iterator[Fact]:
    """Yield why the run as a whole goes no further for now."""
    for reason in case.run.pause_reasons:
        yield Fact(code=Code.PAUSED, text=f"the run is paused: {reason}", change="resume the run")
    if case.run.state is RunState.TERMINATING or (case.run.is_stopped and not case.run.state.is_terminal):
        text = f"the run is being stopped: {case.run.reason}"
        yield Fact(code=Code.STOPPING, text=text, change="start another run once it has ended")


def frozen(case: Case, effect: str = "nothing begins in the freeze {}") -> Iterator[Fact]:
    """Yield the freeze that the run stands in, and its *effect* in words, in which its name goes."""
    freeze = case.run.freeze
    if freeze is not None:
        text = f"{effect.format(freeze.name)}: {freeze.reason}"
        yield Fact(code=Code.FROZEN, text=text, change="it ends, or is taken off the calendar", until=freeze.ends_at)


def shut_out(case: Case) -> Iterator[Fact]:
    """Yield why the device gets no work at all."""
    device = case.device
    if device.is_removed:
        yield Fact(code=Code.REMOVED, text="it was removed from the fleet", change="enrol it anew")
    elif device.is_blocked:
        yield Fact(code=Code.BLOCKED, text="it is blocked", change="unblock it")
    if device.is_broken:
        text = "an installation left it broken, and it gets no work until it reports a whole one"
        yield Fact(code=Code.BROKEN, text=text, change="mend it")
