"""Every case of the contract is tried over every way in; a broker that is not installed is missed aloud."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import needs
from tests.controller.transport.brokered import BROKERED, OverBroker
from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.ways import BuiltIn, Way

OVER_BROKERS: Sequence[Any] = [pytest.param(made, marks=needs(made.program), id=made.kind) for made in BROKERED]
ALL: Sequence[Any] = [pytest.param(BuiltIn, id=BuiltIn.kind), *OVER_BROKERS]


@pytest.fixture(params=ALL)
async def way(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Way]:
    """Yield each way in, with nothing started but what outlives a transport."""
    async with opened(request.param(tmp_path)) as made:
        yield made


@pytest.fixture(params=OVER_BROKERS)
async def brokered(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OverBroker]:
    """Yield each way in that has a broker."""
    made: OverBroker = request.param(tmp_path)
    async with opened(made):
        yield made


@asynccontextmanager
async def opened(made: Way) -> AsyncIterator[Way]:
    """Have what outlives a transport run."""
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture
def inbox() -> RecordingInbox:
    """Return an inbox that obeys the test."""
    return RecordingInbox()
