"""Sending artifacts: in parts, without holding them in memory, and only so many at once."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import NamedTuple

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from controller.app.errors import Overloaded


class Slots:
    """How many long answers are under way; a slot is taken when one is decided and given back when it ends."""

    def __init__(self, limit: int, *, what: str = "downloads") -> None:
        self._limit = limit
        self._what = what
        self.in_flight = 0

    def take(self) -> None:
        """Take a slot.

        Raises:
            Overloaded: when none is left.
        """
        if self.in_flight >= self._limit:
            raise Overloaded(f"{self.in_flight} {self._what} are under way, which is the limit; try again soon")
        self.in_flight += 1

    def give_back(self) -> None:
        """Give a slot back."""
        assert self.in_flight > 0
        self.in_flight -= 1


class Content(NamedTuple):
    """What is sent: the first chunk, and the chunks after it, or None where there are none."""

    first: bytes
    rest: Iterator[bytes] | None


def begin(chunks: Iterator[bytes], length: int) -> Content:
    """Read the first of *chunks*, which have *length* bytes in all; this waits for the disk."""
    first = next(chunks, b"")
    if len(first) < length:
        return Content(first, chunks)
    next(chunks, None)  # lets whoever reads see the end, and close the file
    return Content(first, None)


class Download(StreamingResponse):
    """An artifact or a part of it; holds a slot until the last byte is out or the caller is gone.

    What is one chunk goes out at once. More is read in threads, while it is watched whether the caller is still there.
    """

    def __init__(self, content: Content, slots: Slots, *, status_code: int, headers: Mapping[str, str]) -> None:
        slots.take()
        self._slots = slots
        self._is_whole = content.rest is None
        super().__init__(_all(content), status_code, headers, media_type="application/octet-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            if self._is_whole:
                await self.stream_response(send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._slots.give_back()


async def _all(content: Content) -> AsyncIterator[bytes]:
    yield content.first
    if content.rest is not None:
        async for chunk in iterate_in_threadpool(content.rest):
            yield chunk
