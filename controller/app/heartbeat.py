"""The heartbeat: by it a span in which nobody looked at deadlines is known, and taken out of every run's clock.

The controller was down, the machine slept, or the wall clock was set: whoever writes next finds the heartbeat too
old, or in the future, before anything is judged by a clock that is wrong.
"""

from typing import Final

from controller.app.repositories import Transaction
from protocol.units import SECOND, Instant

BEAT_MS: Final = 5 * SECOND
GAP_MS_MIN: Final = 3 * BEAT_MS


def is_due(last: Instant | None, now: Instant) -> bool:
    """Say whether it is time to say again that the controller lives."""
    return last is None or not 0 <= now - last < BEAT_MS


def gap_ms(tx: Transaction, now: Instant) -> int:
    """Return the span before *now* in which nobody looked, negative where the wall clock was put back, else 0."""
    last = tx.log.heartbeat()
    if last is None:
        return 0
    if now < last - BEAT_MS:
        return now - last
    late = now - last - BEAT_MS
    return late if late >= GAP_MS_MIN else 0
