"""Log lines about peers, at a bounded rate: whoever can open a socket must not be able to fill a disk."""

from typing import Final

import structlog

from controller.bucket import Bucket

LINES_PER_SECOND: Final = 5.0
LINES_BURST: Final = 50

log = structlog.get_logger()


class Complaints:
    """Says what peers do wrong, and how many such lines were left out before."""

    def __init__(self, *, lines_per_second: float = LINES_PER_SECOND, burst: int = LINES_BURST) -> None:
        """Take how many lines are said a second, and how many at once after a silence."""
        self._bucket = Bucket(rate=lines_per_second, burst=burst)
        self._suppressed = 0

    def say(self, at: float, event: str, **fields: object) -> None:
        """Log *event* at the time *at*, in seconds, or count it as left out."""
        if not self._bucket.take(at):
            self._suppressed += 1
            return
        if self._suppressed:
            fields["suppressed"] = self._suppressed
        self._suppressed = 0
        log.warning(event, **fields)
