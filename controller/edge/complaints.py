"""Log lines about peers, at a bounded rate: whoever can open a socket must not be able to fill a disk."""

import structlog

from controller.edge.limits import Bucket, Limits

log = structlog.get_logger()


class Complaints:
    """Says what peers do wrong, and how many such lines were left out before."""

    def __init__(self, limits: Limits) -> None:
        """Take the rate."""
        self._bucket = Bucket(rate=limits.log_lines_per_second, burst=limits.log_lines_burst)
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
