"""Measures: what the apps that are watched tell of themselves now and then, as long as they are watched.

```
measure_at set ──trusted time reaches it, and no report is open──→ asked for ──Measured──→ reported; measure_at set anew
```

The rules this module keeps:

1. The first measure is due `measure_ms` after the success, each other one so long after the one before it. However many
   were missed, one makes up for them.
2. It is never less than `EVERY_MS_MIN` from one to the next, whatever a command asks for: none wears a device out.
3. While a measure is not settled by the controller no other is made. A device that is offline keeps one, and writes
   nothing until that is settled.
4. What was asked for is forgotten by a restart, and asked for again. What a measure brings counts once, and not at all
   when the watch is over.
"""

from typing import Final

from msgspec.structs import replace

from agent.core.effects import Measure
from agent.core.events import Measured
from agent.core.model import NOTHING_TOLD, FiledKind, State, Watch
from agent.core.reports import may_file, report_measure
from agent.core.turn import Turn
from protocol.units import SECOND, Instant, later

EVERY_MS_MIN: Final = 1 * SECOND


def settle_measures(turn: Turn, watch: Watch, now: Instant) -> None:
    """Set when the apps of *watch* are measured next, or ask for the measure that is due."""
    if watch.measure_ms and watch.measure_at is None:
        turn.keep(watch=replace(watch, measure_at=later(now, max(watch.measure_ms, EVERY_MS_MIN))))
        return
    due_at = measure_due_at(turn.state)
    if due_at is not None and turn.at >= due_at:
        turn.note(is_measuring=True)
        turn.do(Measure(run=watch.run, attempt=watch.attempt, apps=watch.apps))


def take_measured(turn: Turn, event: Measured) -> None:
    """Report what the apps told, if they told anything, and this was asked for by the watch of now."""
    watch = turn.durable.watch
    if watch is None or (watch.run, watch.attempt) != (event.run, event.attempt):
        return
    if not turn.session.is_measuring or watch.is_over(turn.now):
        return
    turn.note(is_measuring=False)
    turn.keep(watch=replace(watch, measure_at=None))
    if event.told != NOTHING_TOLD:
        report_measure(turn, watch, event.told)


def measure_due_at(state: State) -> int | None:
    """Return the boot-time clock's reading at which a measure is due, or None where none is waited for."""
    watch = state.durable.watch
    if watch is None or watch.measure_at is None or state.session.is_measuring:
        return None
    return state.at(watch.measure_at) if may_file(state.durable, FiledKind.MEASURE) else None
