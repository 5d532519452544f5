"""Virtual time: a heap of what happens when, and coroutines that wait for it.

The rules this module keeps:

1. Nothing happens but by `step`; what is due at the same instant happens in the order in which it was asked for.
2. A coroutine gives up control only where it awaits `suspend`; what it waits for decides when it goes on.

>>> scheduler = Scheduler(start=0)
>>> scheduler.after(5, lambda: print("later", scheduler.now))
>>> scheduler.after(2, lambda: print("sooner", scheduler.now))
>>> while scheduler.step():
...     pass
sooner 2
later 5
"""

import heapq
import math
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")

Act = Callable[[], None]
Arm = Callable[[Act], None]
"""Given how to go on, sees to it that this is called, once."""


class Scheduler:
    """The heap of everything that is to happen. Times are whole milliseconds."""

    __slots__ = ("_count", "_heap", "now")

    def __init__(self, *, start: int) -> None:
        self.now = start
        self._count = 0
        self._heap: list[tuple[int, int, Act]] = []

    def at(self, at: int, act: Act) -> None:
        """Let *act* happen at *at*, or now where that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(at, self.now), self._count, act))

    def after(self, span_ms: int, act: Act) -> None:
        """Let *act* happen in *span_ms*."""
        self.at(self.now + span_ms, act)

    @property
    def next_at(self) -> float:
        """When the next thing is to happen; infinite where nothing is."""
        return self._heap[0][0] if self._heap else math.inf

    def step(self) -> bool:
        """Let the next thing happen; return whether there was one."""
        if not self._heap:
            return False
        self.now, _, act = heapq.heappop(self._heap)
        act()
        return True


@types.coroutine
def suspend(arm: Arm) -> Generator[Arm, None, None]:
    """Give up control until what *arm* was given is called."""
    yield arm


class Task:
    """A coroutine at work. Whatever it raises goes to `on_error`, also what is no `Exception`."""

    __slots__ = ("_on_error", "_on_result", "_work", "is_over")

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        *,
        on_error: Callable[[BaseException], None],
        on_result: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self._work = work
        self._on_error = on_error
        self._on_result = on_result
        self.is_over = False

    def go_on(self) -> None:
        """Run to the next wait, or to the end."""
        if self.is_over:
            return
        try:
            arm = self._work.send(None)
        except StopIteration as stop:
            self.is_over = True
            self._on_result(stop.value)
        except BaseException as error:  # noqa: BLE001 - a death is no Exception, and is the owner's to judge
            self.is_over = True
            self._on_error(error)
        else:
            arm(self.go_on)

    def kill(self) -> None:
        """End it where it waits, as a process ends: nothing of it goes on."""
        if not self.is_over:
            self.is_over = True
            self._work.close()


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("what was to be done at once waits for something outside")
