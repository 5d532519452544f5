"""Sending artifacts: in parts, without holding them in memory, and only so many at once."""

from collections.abc import Iterator, Mapping

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from controller.app.errors import Overloaded


class Slots:
    """How many downloads are under way; a slot is taken when an answer is decided and given back when it ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.in_flight = 0

    def take(self) -> None:
        """Take a slot.

        Raises:
            Overloaded: when none is left.
        """
        if self.in_flight >= self._limit:
            raise Overloaded(f"{self.in_flight} downloads are under way, which is the limit; try again soon")
        self.in_flight += 1

    def give_back(self) -> None:
        """Give a slot back."""
        assert self.in_flight > 0
        self.in_flight -= 1


class Download(StreamingResponse):
    """Chunks of an artifact, read in threads; holds a slot until the last byte is out or the caller is gone."""

    def __init__(self, chunks: Iterator[bytes], slots: Slots, *, status_code: int, headers: Mapping[str, str]) -> None:
        slots.take()
        self._slots = slots
        super().__init__(iterate_in_threadpool(chunks), status_code, headers, media_type="application/octet-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slots.give_back()
