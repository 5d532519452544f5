import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

import pytest
from rich.console import Console

from controller.app.views import RunView
from simulator.demo.screen import Screen
from simulator.demo.stream import Lasting
from tests.simulator.demo.test_screen import going


@contextmanager
def terminal() -> Iterator[tuple[IO[str], int]]:
    """Yield a stream to a terminal, and the side at which a person would sit."""
    person, program = pty.openpty()
    with os.fdopen(program, "w") as stream:
        yield stream, person


def test_what_is_written_arrives_and_the_rest_is_the_streams() -> None:
    with terminal() as (stream, person):
        lasting = Lasting(stream)
        lasting.write("hello")
        lasting.flush()
        assert os.read(person, 100) == b"hello"
        assert lasting.isatty()
        os.close(person)


def test_a_closed_terminal_is_told_of_once_and_then_nothing_fails() -> None:
    lost: list[str] = []
    with terminal() as (stream, person):
        lasting = Lasting(stream, on_loss=lambda: lost.append("lost"))
        os.close(person)
        for _ in range(3):
            lasting.write("hello")
            lasting.flush()
    assert lost == ["lost"]


def test_an_interrupt_in_a_live_view_is_heard_although_the_terminal_is_closed() -> None:
    with terminal() as (stream, person):
        console = Console(file=cast("IO[str]", Lasting(stream)), force_terminal=True)

        def look() -> RunView:
            if look_count.pop():
                return going("rolling_out")
            os.close(person)
            raise KeyboardInterrupt

        look_count = [0, 1]
        with pytest.raises(KeyboardInterrupt):
            Screen(console).follow(look, seconds_max=5)
