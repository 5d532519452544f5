"""A device that an operator holds while a run goes on without it.

Once it alone is left, the operator asks why, and lets it go.
"""

from typing import Final

from controller.app.views import RunView
from controller.domain.target import TargetState
from simulator.demo.screen import Screen
from simulator.demo.story import Asked
from simulator.operations import Operator

AFTERWARDS: Final = "the fair is over"


class Exhibit:
    """One held device. `asked` is what was said of it while all others were through, and None until then."""

    def __init__(self, operator: Operator, screen: Screen, *, device: str, reason: str) -> None:
        """Hold the device for a reason."""
        self._operator = operator
        self._screen = screen
        self._device = device
        self.asked: Asked | None = None
        screen.say(f'an operator holds {device} (tidegate device hold {device} --reason "{reason}")')
        operator.hold(device, reason=reason)

    def look(self, run: RunView) -> None:
        """Ask why the device is not updated and lift its hold, once, as soon as the run has no other left."""
        if self.asked is None and self._is_alone(run):
            self.asked = self._ask(run)
            lifted = f'tidegate device unhold {self._device} --reason "{AFTERWARDS}"'
            self._screen.say(f"an operator lifts the hold ({lifted})")
            self._operator.unhold(self._device, reason=AFTERWARDS)

    def _is_alone(self, run: RunView) -> bool:
        """Say whether the device is the only one of the run that has not ended; asked in full only when it may be."""
        if sum(stage.counters.queued + stage.counters.in_progress for stage in run.stages) != 1:
            return False
        queued = self._operator.targets(run.id, state=TargetState.QUEUED)
        return [target.device for target in queued] == [self._device]

    def _ask(self, run: RunView) -> Asked:
        self._screen.say(f"{self._device} alone is left. Why? (tidegate device why {self._device})")
        answers = self._operator.why(self._device).runs
        fact = next(answer.facts[0] for answer in answers if answer.run == run.id)
        self._screen.say(f"  {fact.text}")
        return Asked(device=self._device, fact=fact)
