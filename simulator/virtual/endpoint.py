"""The endpoint of one life of the controller: sessions, the batches of what they say, and who ended.

It stands in for `controller.edge`: the same port down, the same promises up.
"""

import random

from controller.app.errors import ControllerError
from controller.app.inbox import Inbox
from controller.app.ports import Uplinked
from protocol.ids import Name
from protocol.topics import DownlinkKind, UplinkKind
from simulator.virtual.connection import NOTICE_MS_MAX, Connection, Settled
from simulator.virtual.intake import RETRY_MS, Handed, Intake, Perils, Spawn
from simulator.virtual.picture import Session
from simulator.virtual.scheduler import Act
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World


class Endpoint:
    """Implements `controller.app.ports.Transport`; dies with its controller, and may begin anew without it."""

    def __init__(self, world: World, inbox: Inbox, *, chance: random.Random, spawn: Spawn, handed: Handed) -> None:
        """Take a chance that outlives this life, so that no two lives have the same instance."""
        self._world = world
        self._inbox = inbox
        self._spawn = spawn
        self._handed = handed
        self._chance = chance
        self._numbers: dict[Connection, int] = {}
        self._live: dict[Name, Connection] = {}
        self._checked: dict[Connection, None] = {}
        self._last_number = 0
        self._intake = Intake(world, inbox, spawn)
        self._perils = Perils(world, chance)
        self.instance = self._chance.randrange(1, 2**31)

    # --- the controller's port ----------------------------------------------------------------------------------

    @property
    def session_count(self) -> int:
        """Return how many devices are connected."""
        return len(self._live)

    def session(self, name: Name) -> int:
        """Return the number of the device's live session, 0 when it has none."""
        connection = self._live.get(name)
        return 0 if connection is None else self._numbers[connection]

    def whole_session(self, name: Name) -> Session | None:
        """Return the device's live session, None also where it is broken and nobody has noticed; for observers."""
        connection = self._live.get(name)
        is_whole = connection is not None and connection.is_whole
        return (self.instance, self.session(name)) if is_whole else None

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Hand bytes to the device's session, unless it has none or its window is full."""
        connection = self._live.get(name)
        if connection is None:
            return False
        self._perils.perhaps_die(kind)
        if not connection.down(kind, payload):
            return False
        self._handed(name, kind, payload)
        self._perils.written(kind)
        return True

    def close(self, name: Name, *, reason: str) -> None:
        """End the device's session, and refuse one that is just being checked."""
        self._world.say("endpoint", f"closes {name}: {reason}")
        for connection in [*self._checked, *self._numbers]:
            if connection.name == name:
                connection.cut()
                self.left(connection)

    # --- connections --------------------------------------------------------------------------------------------

    def arrive(self, connection: Connection, *, admitted: Act, refused: Act) -> None:
        """Let a device connect, if the controller agrees."""
        self._spawn(self._check(connection, admitted, refused))

    async def _check(self, connection: Connection, admitted: Act, refused: Act) -> None:
        self._checked[connection] = None
        try:
            may_connect = await self._inbox.may_connect(connection.name)
        except ControllerError:
            may_connect = False
        finally:
            del self._checked[connection]
        if not may_connect or not connection.is_whole:
            refused()
            return
        older = self._live.get(connection.name)
        if older is not None:
            self._world.sometimes(Sometimes.TAKEN_OVER)
            older.cut()
            self.left(older)
        self._last_number += 1
        self._numbers[connection] = self._last_number
        self._live[connection.name] = connection
        admitted()

    def left(self, connection: Connection) -> None:
        """Note that a session ended: its will, and then the end of the session."""
        number = self._numbers.pop(connection, None)
        if number is None:
            return
        if self._live.get(connection.name) is connection:
            del self._live[connection.name]
        self.take(Uplinked(name=connection.name, kind=UplinkKind.GONE, payload=connection.will), None)
        self._spawn(self._intake.note_end(connection.name, number))

    def restart(self) -> None:
        """Begin anew: every session is gone, nobody is told, and presence under the old number is void."""
        self.instance = self._chance.randrange(1, 2**31)
        connections = list(self._numbers)
        self._numbers.clear()
        self._live.clear()
        for connection in connections:
            connection.cut(notice_ms_max=NOTICE_MS_MAX)

    def die(self) -> None:
        """End with the controller: devices notice sooner or later."""
        self._intake.clear()
        for connection in list(self._numbers):
            connection.cut(notice_ms_max=RETRY_MS if self._chance.randrange(5) else NOTICE_MS_MAX)
        self._numbers.clear()
        self._live.clear()

    # --- messages -----------------------------------------------------------------------------------------------

    def take(self, message: Uplinked, settled: Settled | None) -> None:
        """Queue a message for the next batch."""
        self._intake.put(message, None if settled is None else lambda _: settled())
