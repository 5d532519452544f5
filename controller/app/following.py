"""Following a run: its timeline from any entry on, as it happens, until the run has ended and all is told.

Nothing is kept for who follows: each look reads what came after the last entry told, so that a slow reader costs no
memory and one who comes back misses nothing.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from controller.app import run_views, runs
from controller.app.access import Actor, Permission
from controller.app.controller import Controller
from controller.app.repositories import Transaction
from controller.app.views import EventView, RunView
from protocol.units import MINUTE, SECOND, Millis, later

ENTRIES_MAX: Final = 200
"""The most entries of one look."""
LOOK_MS: Final = Millis(SECOND // 2)
"""How often is looked: whoever follows hears of a run at most twice a second."""
QUIET_MS_MAX: Final = Millis(15 * SECOND)
"""After that long without news, none are told: a proxy in between may close what is silent."""
FOLLOWED_MS_MAX: Final = Millis(15 * MINUTE)
"""Then it ends, and whoever wants to go on asks again, with a token that is still valid."""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What one look brought: entries, oldest first, none of them to say that it goes on.

    `ended` is the run, once it has ended and all is told.
    """

    entries: tuple[EventView, ...] = ()
    ended: RunView | None = None


async def follow(controller: Controller, actor: Actor, *, run: str, after: int = 0) -> AsyncIterator[News]:
    """Return what happens in a run after an entry, by and by.

    Raises:
        NotFound: when there is no such run.
    """
    actor.require(Permission.READ)
    return _news(controller, run, await _look(controller, run, after), after)


async def _news(controller: Controller, run: str, found: News, after: int) -> AsyncIterator[News]:
    until = later(controller.clock.now(), FOLLOWED_MS_MAX)
    told_at = controller.clock.now()
    while True:
        now = controller.clock.now()
        if found.entries or found.ended is not None or now - told_at >= QUIET_MS_MAX:
            yield found
            told_at = now
        if found.ended is not None or now >= until:
            return
        after = found.entries[-1].id if found.entries else after
        if len(found.entries) < ENTRIES_MAX:
            await controller.clock.pause_until(later(now, LOOK_MS))
        found = await _look(controller, run, after)


async def _look(controller: Controller, run: str, after: int) -> News:
    def work(tx: Transaction) -> News:
        record = runs.find(tx, run)
        entries = tx.log.events(record.id, after=after, limit=ENTRIES_MAX)
        is_all = len(entries) < ENTRIES_MAX
        ended = run_views.run_view(record) if is_all and record.run.state.is_terminal else None
        return News(entries=tuple(runs.event_view(entry) for entry in entries), ended=ended)

    return await controller.read(work)
