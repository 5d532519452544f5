"""A live line of progress on a terminal; elsewhere a line now and then."""

import time
from typing import Final, TextIO

PLAIN_LINE_SECONDS: Final = 5.0


class Line:
    """One line that is written over on a terminal, and a line now and then elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        """Take where to write."""
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._shown_at = float("-inf")
        self._text = ""

    def show(self, text: str) -> None:
        """Show *text*."""
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
        elif text != self._text and time.monotonic() - self._shown_at >= PLAIN_LINE_SECONDS:
            self._shown_at = time.monotonic()
            self._stream.write(f"{text}\n")
            self._stream.flush()
        self._text = text

    def close(self) -> None:
        """Leave the last text standing."""
        if self._is_terminal and self._text:
            self._stream.write("\n")
            self._stream.flush()
