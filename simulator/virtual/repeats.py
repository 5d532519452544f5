"""Clients that name requests by Idempotency-Keys, and send them again when they please: also after they were answered.

Whoever names a request is a person of their own here: what the log says of them tells how often it was carried out.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from controller.app.access import Actor, RequestKey
from simulator.virtual.world import World

NAMED: Final = frozenset(
    {
        *(
            "start",
            "pause",
            "resume",
            "terminate",
            "promote",
            "skip",
            "give up",
            "retry",
            "retry with cancelled",
            "roll back",
        ),
        *("block", "unblock", "hold", "unhold", "pin", "unpin", "remove", "readmit"),
        *("stop", "lift", "freeze", "thaw", "withdraw", "deprecate"),
    }
)
"""The acts that a client may name."""
TIMES_MAX: Final = 3
SPANS_MS: Final = (100, 5_000, 90_000)
"""The longest that a client waits before it sends a request again: impatient, cautious, and back from a crash."""
OTHER_EVERY: Final = 4
"""One of so many repetitions is another request under the same key."""

Send = Callable[[Actor], None]


class Repeats:
    """Draws from a chance of its own, where a world has such clients."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance("keys")
        self._count = 0

    def named(self, actor: Actor, act: str) -> Actor:
        """Return who asks: a person with a name for this request, or *actor*."""
        share = self._world.draws.keys.share
        if not share or act not in NAMED or self._world.is_healed or self._chance.random() >= share:
            return actor
        self._count += 1
        name = f"{actor.name}-{self._count}"
        request = RequestKey(key=f"k{self._count}", fingerprint=act)
        return msgspec.structs.replace(actor, name=name, request=request)

    def again(self, actor: Actor, send: Send) -> None:
        """Send a named request again some times, now and then as another one."""
        if actor.request is None:
            return
        for _ in range(self._chance.randint(1, TIMES_MAX)):
            is_other = not self._chance.randrange(OTHER_EVERY)
            fingerprint = "another" if is_other else actor.request.fingerprint
            request = msgspec.structs.replace(actor.request, fingerprint=fingerprint)
            self._in(self._chance.randint(1, self._chance.choice(SPANS_MS)), send, actor, request)

    def _in(self, span_ms: int, send: Send, actor: Actor, request: RequestKey) -> None:
        asking = msgspec.structs.replace(actor, request=request)
        self._world.scheduler.after(span_ms, lambda: None if self._world.is_healed else send(asking))
