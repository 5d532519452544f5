"""Every case of the contract is tried over every way in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=lambda made: str(made.kind))
async def way(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Way]:
    """Yield each way in, with nothing started but what outlives a transport."""
    made: Way = request.param(tmp_path)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture
def inbox() -> RecordingInbox:
    """Return an inbox that obeys the test."""
    return RecordingInbox()
