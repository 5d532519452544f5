"""The real controller on SQLite behind a way in, and devices that sign what they say and check what they are told.

The operator, the clock and the keys are those of `tests.controller.app.rig`; only what goes between the controller
and its devices is real.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from controller import serving
from controller.app import devices, wakeups
from controller.app.inbox import Inbox
from controller.app.ports import Disposition, Transport, Uplinked
from protocol.codec import encode
from protocol.ids import Name
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Gone, InstalledRelease
from protocol.topics import DownlinkKind, UplinkKind
from tests.controller.app.rig import APP, Rig
from tests.controller.edge.world import until
from tests.controller.transport.device import Device
from tests.controller.transport.ways import Way


class HeldInbox(Inbox):
    """The real inbox, with a door that a test can shut."""

    def __init__(self) -> None:
        super().__init__()
        self.door = asyncio.Event()
        self.door.set()
        self.offered: list[Uplinked] = []
        self.became: list[tuple[UplinkKind, Disposition]] = []

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        self.offered += batch
        await self.door.wait()
        answers = await super().receive(batch)
        self.became += [(message.kind, answer) for message, answer in zip(batch, answers, strict=True)]
        return answers


class Town:
    """One controller after another on one database, and the devices that belong to it."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.inbox = HeldInbox()
        self.rig = Rig(inbox=self.inbox)
        self.spoken: dict[str, Device] = {}
        self._read: dict[Device, int] = {}
        self._connections = 0
        self._pumping: asyncio.Task[None] | None = None

    # --- the controller -------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Start a controller with an empty memory on the database, and the transport before it."""
        self.inbox = self.rig.inbox = HeldInbox()
        late = _Late(self.inbox)
        self.rig.transport = await self.way.start(late)
        self.rig.controller = self.rig.new_controller()
        self.inbox.open(self.rig.controller)
        late.opened.set()
        self._pumping = asyncio.create_task(serving.pump(self.rig.controller))

    async def stop(self) -> None:
        """End the controller in good order."""
        await self.way.stop()
        await self._end_pump()

    async def kill(self) -> None:
        """End the controller as a power cut would."""
        await self.way.kill()
        await self._end_pump()

    async def _end_pump(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()
            with suppress(asyncio.CancelledError):
                await self._pumping
        self._pumping = None

    @property
    def transport(self) -> Transport:
        """The transport of this life."""
        return self.rig.transport

    def is_online(self, name: str) -> bool:
        """Say whether the controller takes a device for connected."""
        view = self.rig.do(devices.get, device=name)
        return view.online

    # --- devices --------------------------------------------------------------------------------------------

    async def connect(self, *names: str, **hello: Any) -> None:
        """Let devices connect and say hello, each over a new connection, and wait for the answers."""
        for name in names:
            self._connections += 1
            connection = f"c{self._connections}"
            will = encode(Gone(connection=connection))
            device = self.way.device(self.rig.devices[name].name, will=will)
            device.connection = connection
            self.spoken[name] = device
            await device.come()
            await self.greet(name, **hello)

    async def greet(self, name: str, **hello: Any) -> None:
        """Let a connected device say hello and wait for the answer."""
        replies = len(self.rig.devices[name].replies)
        device = self.spoken[name]
        device.say(self.rig.said_hello(name, connection=device.connection, **hello).payload, UplinkKind.HELLO)
        await self.until(lambda: len(self.rig.devices[name].replies) > replies)

    def hear(self) -> None:
        """Let every device take in what came."""
        for name, device in self.spoken.items():
            come = list(zip(device.topics, device.received, strict=False))[self._read.get(device, 0) :]
            self._read[device] = self._read.get(device, 0) + len(come)
            for topic, payload in come:
                self.rig.deliver(self.rig.devices[name], DownlinkKind(topic.rsplit("/", 1)[1]), payload)

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until *what* is true of what devices heard or the controller stored."""

        def now_true() -> object:
            self.hear()
            return what()

        await until(now_true)

    def due(self) -> None:
        """Have the controller look at what is due."""
        self.rig.wait(wakeups.look(self.rig.controller))
        self.rig.controller.dispatcher.kick()

    def successes(self, name: str) -> list[bytes]:
        """Return what a device signs that carries out its newest command: that it accepted, and that it succeeded."""
        _, command = self.rig.last_install(name)
        release = command.releases[0]
        version = release.path.split("/")[1]
        installed = InstalledRelease(app=APP, version=version, sha256=release.sha256, counter=release.counter)
        return [
            self.rig.signed_report(name, AttemptState.ACCEPTED),
            self.rig.signed_report(name, AttemptState.SUCCEEDED, left=Left.NEW, installed=(installed,)),
        ]

    def installs(self, name: str) -> list[int]:
        """Return the attempts that a device was told to make, in the order in which it was told."""
        return [command.attempt for _, command in self.rig.devices[name].commands if command.op == "install"]

    def settled(self, name: str) -> set[int]:
        """Return the numbers of the reports that the controller told a device are stored."""
        return {number for ack in self.rig.devices[name].acks for number in ack.stored}


class _Late:
    """Lets nothing through before the inbox behind it is open: transports start before their controller is made."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.opened = asyncio.Event()

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        await self.opened.wait()
        return await self._inbox.receive(batch)

    async def may_connect(self, name: Name) -> bool:
        await self.opened.wait()
        return await self._inbox.may_connect(name)

    async def disconnected(self, name: Name, session: int) -> None:
        await self.opened.wait()
        await self._inbox.disconnected(name, session)

    async def lost_sight(self, partitions: Collection[int]) -> None:
        await self.opened.wait()
        await self._inbox.lost_sight(partitions)


@asynccontextmanager
async def town(way: Way, *names: str) -> AsyncIterator[Town]:
    """Run a controller with devices that are enrolled and not connected."""
    made = Town(way)
    made.rig.enrol(*names)
    await made.serve()
    try:
        yield made
    finally:
        made.inbox.door.set()
        await made.stop()
        made.rig.close()
