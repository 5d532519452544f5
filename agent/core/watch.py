"""The watch over what is installed: from the success of an attempt to its one mark.

```
succeeded, and the command asks for it ──→ WATCHED ─first crash, or unwell→ one bad mark
                                              ├─trusted time reaches `until`→ `well`
                                              └─newer work begins→ `ended`
```

The rules this module keeps:

1. A watch is journalled with the success that begins it, and goes on after every restart.
2. It ends by trusted time. Where none was heard since the device booted, its end waits until some is.
3. It ends with one mark, filed in the step that ends it; before the first report of the newer work, where that ends it.
"""

from msgspec.structs import replace

from agent.core.effects import WatchOver
from agent.core.events import Ailed
from agent.core.measures import settle_measures
from agent.core.model import Watch, Work
from agent.core.reports import report_health
from agent.core.turn import Turn
from protocol.health import Mark
from protocol.units import later


def begin_watch(turn: Turn, work: Work) -> None:
    """Watch what *work* is about, where its command asks for that."""
    if work.watch_ms:
        apps = work.watched
        watch = Watch(
            digest=work.digest,
            run=work.run,
            attempt=work.attempt,
            apps=apps,
            span_ms=work.watch_ms,
            measure_ms=work.measure_ms,
        )
        turn.keep(watch=watch)
        turn.do(WatchOver(apps=apps))


def resume_watch(turn: Turn) -> None:
    """Go on watching after a restart."""
    if turn.durable.watch is not None:
        turn.do(WatchOver(apps=turn.durable.watch.apps))


def give_way(turn: Turn) -> None:
    """End the watch, since newer work begins; one whose time is over has ended well."""
    watch = turn.durable.watch
    if watch is not None:
        _end(turn, watch, Mark.WELL if watch.is_over(turn.now) else Mark.ENDED)


def take_ailed(turn: Turn, event: Ailed) -> None:
    """End the watch with a bad mark, if the app is one that is watched, and the watch is not over."""
    watch = turn.durable.watch
    if watch is not None and event.app in watch.apps and not watch.is_over(turn.now):
        _end(turn, watch, event.mark, count=event.count, detail=f"{event.app}: {event.detail}")


def settle_watch(turn: Turn) -> None:
    """Set the end of a watch once the time is known, and end one whose time is over: nothing bad has happened.

    Until then its measures are looked at.
    """
    watch, now = turn.durable.watch, turn.now
    if watch is None or now is None:
        return
    if watch.until is None:
        watch = replace(watch, until=later(now, watch.span_ms))
        turn.keep(watch=watch)
    if watch.is_over(now):
        _end(turn, watch, Mark.WELL)
    else:
        settle_measures(turn, watch, now)


def _end(turn: Turn, watch: Watch, mark: Mark, *, count: int = 0, detail: str = "") -> None:
    """Watch no more, and tell the mark."""
    report_health(turn, watch, mark, count=count, detail=detail)
    turn.keep(watch=None)
    turn.note(is_measuring=False)
    turn.do(WatchOver(apps=()))
