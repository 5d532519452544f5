"""Devices that are programs of others: what each prints comes out line by line."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.controller.edge.world import WAIT_S

END_S: Final = 5.0


class Program:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, *parts: str) -> str:
        """Return the next line that holds all *parts*; those before it are passed over.

        Raises:
            AssertionError: when it does not come in time; the message is all that was printed.
        """
        assert self.process.stdout is not None, "its output is a pipe"
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while raw := await self.process.stdout.readline():
                    self.lines.append(raw.decode(errors="replace").rstrip())
                    if all(part in self.lines[-1] for part in parts):
                        return self.lines[-1]
        raise AssertionError(f"no line with {parts} in: " + " | ".join(self.lines))

    async def code(self) -> int:
        """Wait for its end, and return its code."""
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()

    def say(self, text: str) -> None:
        """Write one line to its input."""
        assert self.process.stdin is not None, "its input is a pipe"
        self.process.stdin.write(text.encode() + b"\n")


@asynccontextmanager
async def running(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """Run a program, and end it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=env
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.communicate(), END_S)
