"""Questions of checks that commits leave to be put, in memory: what is lost with it is asked again when it lapses."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from controller.app.consequences import Question

WAITING_MAX: Final = 4_096
"""The most questions that wait; the oldest goes unasked, lapses and is asked again."""


class Questions:
    """A queue with one reader, which is told by `on_put`. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque(maxlen=WAITING_MAX)
        self.on_put: Callable[[], None] = lambda: None

    def put(self, questions: Iterable[Question]) -> None:
        """Have questions asked, in their order."""
        before = len(self._waiting)
        self._waiting.extend(questions)
        if len(self._waiting) > before:
            self.on_put()

    def take(self) -> Question | None:
        """Return the next question, or None while there is none."""
        return self._waiting.popleft() if self._waiting else None
