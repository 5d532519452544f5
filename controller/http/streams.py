"""Server-sent events, as the HTML standard has them: what is sent while a caller follows a run."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from controller.app.following import News
from controller.http import schemas
from controller.http.downloads import Slots

MEDIA_TYPE: Final = "text/event-stream"
ENTRY: Final = "entry"
END: Final = "end"
QUIET: Final = format_sse_event(comment="quiet")
RETRY_MS: Final = 1_000
"""After how long a browser that lost the stream asks again."""


class Following(StreamingResponse):
    """What happens in a run, as it happens; holds a slot until it has ended or the caller is gone."""

    def __init__(self, news: AsyncIterator[News], slots: Slots) -> None:
        slots.take()
        self._slots = slots
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_written(news), headers=headers, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slots.give_back()


async def _written(news: AsyncIterator[News]) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RETRY_MS)
    async for one in news:
        yield b"".join(_events(one)) or QUIET


def _events(news: News) -> Iterator[bytes]:
    for entry in news.entries:
        data = schemas.Event.model_validate(entry).model_dump_json()
        yield format_sse_event(data_str=data, event=ENTRY, id=str(entry.id))
    if news.ended is not None:
        data = schemas.Run.model_validate(news.ended).model_dump_json()
        yield format_sse_event(data_str=data, event=END)
