"""What a process uses, and what it did for it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_UTIME: Final = 11
"""Where proc(5) has the time in user mode, counted from the field after the command's closing bracket."""


@dataclass(frozen=True)
class Round:
    """So many installs in so many seconds of wall clock, and the CPU seconds that the server's process took."""

    installs: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Return installs a second."""
        return self.installs / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Return the server's milliseconds of CPU for one install."""
        return self.cpu_seconds * 1_000 / self.installs


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process since its start, in user mode and in the kernel, of all its threads."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    user, system = fields.split()[_UTIME : _UTIME + 2]
    return (int(user) + int(system)) / _TICKS_PER_SECOND
