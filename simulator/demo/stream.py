"""A stream to a screen that may go away: what is written after that is lost, and nothing else is.

>>> import io
>>> lasting = Lasting(io.StringIO())
>>> lasting.write("hello")
5
>>> lasting.isatty()
False
"""

import contextlib
import os
from collections.abc import Callable
from typing import IO, Any


class Lasting:
    """Writes to a stream until that fails once: a closed terminal, or a pipe that nobody reads any more.

    From then on the stream leads nowhere, so that the end of the program, which flushes it, does not fail either.
    """

    def __init__(self, stream: IO[str], *, on_loss: Callable[[], None] = lambda: None) -> None:
        """Take the stream, and who is told, once, that nobody can see it any more."""
        self._stream = stream
        self._on_loss = on_loss
        self._is_lost = False

    def write(self, text: str) -> int:
        """Write *text*, or lose it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush what was written, or lose it."""
        self._try(self._stream.flush)

    def _try(self, work: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            work()
        except OSError:
            self._is_lost = True
            self._lead_nowhere()
            self._on_loss()

    def _lead_nowhere(self) -> None:
        with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path of ours
            os.dup2(nowhere.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        """Be the stream in every other respect."""
        return getattr(self._stream, name)
