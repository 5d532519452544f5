"""Cleans up after a parent that was killed: ``python -m simulator.keeper FOLDER``, its input held by the parent.

The pipe ends however the parent ends. What was told to end then (see `simulator.processes`) gets time to do so; what
it left behind, known by a working folder in ours, is ended.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

from simulator.processes import STOP_SECONDS, left_behind, wait_gone

ROUNDS_MAX: Final = 5
_ROUND_SECONDS: Final = 0.2


def main() -> None:
    """Wait for the parent's end, then for that of its children, then end the rest."""
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    wait_gone(folder, seconds=STOP_SECONDS)
    for _ in range(ROUNDS_MAX):
        for pid in left_behind(folder):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not wait_gone(folder, seconds=_ROUND_SECONDS):
            return


if __name__ == "__main__":
    main()
