"""When a batch begins, in virtual time; what becomes of its messages is in `edge.test_endpoint`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from controller.app.ports import Disposition, Uplinked
from controller.intake import Intake, IntakeCounts, IntakeLimits, Message
from protocol.topics import UplinkKind
from tests.controller.edge.world import D1, FakeInbox
from tests.simulator.instant_loop import run_virtually

GATHER_MS = 10
STORING_MS = 2
BATCH_MAX = 3


class TimedInbox(FakeInbox):
    """Takes a little for each batch, and notes when that begins."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(STORING_MS / 1_000)
        return await super().receive(batch)


def stored(play: Callable[[Intake], Awaitable[None]]) -> list[tuple[int, int]]:
    """Return when each batch began, in milliseconds, and how many messages it had."""

    async def run() -> list[tuple[int, int]]:
        inbox = TimedInbox()
        limits = IntakeLimits(gather_s=GATHER_MS / 1_000, batch_max=BATCH_MAX)
        intake = Intake(inbox, limits=limits, counts=IntakeCounts(), on_pressure=lambda _: None)
        running = asyncio.create_task(intake.run())
        await play(intake)
        assert await intake.drain()
        running.cancel()
        return [(round(at * 1_000), len(batch)) for at, batch in zip(inbox.begun, inbox.batches, strict=True)]

    return run_virtually(run())


async def sleep(span_ms: int) -> None:
    await asyncio.sleep(span_ms / 1_000)


def put(intake: Intake, count: int = 1) -> None:
    for _ in range(count):
        intake.put(Message(Uplinked(name=D1, kind=UplinkKind.REPORT, payload=b"report")))


def test_a_lone_message_is_stored_at_once() -> None:
    async def play(intake: Intake) -> None:
        put(intake)
        await sleep(1_000)
        put(intake)

    assert stored(play) == [(0, 1), (1_000, 1)]


def test_messages_that_follow_a_batch_closely_share_the_next() -> None:
    async def play(intake: Intake) -> None:
        put(intake)
        await sleep(STORING_MS + 1)
        put(intake)
        await sleep(5)
        put(intake)

    assert stored(play) == [(0, 1), (STORING_MS + GATHER_MS, 2)]


def test_a_full_batch_gathers_no_longer() -> None:
    async def play(intake: Intake) -> None:
        put(intake)
        await sleep(STORING_MS // 2)
        put(intake, BATCH_MAX + 1)

    assert stored(play) == [(0, 1), (STORING_MS, BATCH_MAX), (2 * STORING_MS + GATHER_MS, 1)]


def test_a_batch_that_fills_while_it_gathers_is_stored_at_once() -> None:
    async def play(intake: Intake) -> None:
        put(intake)
        await sleep(STORING_MS)
        put(intake)
        await sleep(1)
        put(intake, BATCH_MAX)

    first, second, third = stored(play)
    assert (first, second) == ((0, 1), (STORING_MS + 1, BATCH_MAX)), "and it is no larger than one may be"
    assert third == (2 * STORING_MS + 1 + GATHER_MS, 1)
