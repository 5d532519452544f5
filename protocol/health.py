"""Marks: what a device says of a release after its success, and what is asked of it for that.

The rules this module keeps:

1. A device watches a release for as long as its command says, from the success of the attempt on. A command may ask
   it to watch what it has, too: `protocol.messages.Op.WATCH`.
2. It tells one mark of an attempt: the first bad one, or that the watch is over and nothing was bad. So a release that
   crashes without end costs one message, and the order in which messages arrive decides nothing.
3. Newer work ends a watch early, since what happens then says nothing of the old release. The mark of it says so: for
   how long a device was seen to be well is known of each.
4. While it watches, a device tells the outputs of what it watches as often as its command asks for. Numbers say nothing
   by themselves: they are compared with those of other devices.

>>> Mark.CRASHED.is_bad, Mark.WELL.is_bad, Mark.ENDED.is_bad
(True, False, False)
"""

from enum import StrEnum
from typing import Final

HEALTH: Final = "health"
"""The capability of an agent that watches; no other is asked to."""

WATCH: Final = "watch"
"""The capability of an agent that watches also what it has; no other is asked to. It can do `HEALTH`, too."""

MEASURE: Final = "measure"
"""The capability of an agent that measures what it watches; no other is asked to. It can do `HEALTH`, too."""


class Mark(StrEnum):
    """What became of a release while it was watched.

    `crashed`: its service ended by itself and was started again. `unwell`: it runs, and its probe fails. `well`: the
    watch is over and nothing of that happened. `ended`: nor had it until then, and newer work began before it was over.
    """

    CRASHED = "crashed"
    UNWELL = "unwell"
    WELL = "well"
    ENDED = "ended"

    @property
    def is_bad(self) -> bool:
        """Say whether this speaks against the release."""
        return self in {Mark.CRASHED, Mark.UNWELL}
