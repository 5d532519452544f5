"""Seeds of the tests whose instants are drawn, and the command that repeats one."""

import os
import random
from typing import Final

ENVIRONMENT: Final = "CHAOS_SEED"


def seed() -> int:
    """Return the seed that the environment names, 1 by default."""
    return int(os.environ.get(ENVIRONMENT, "1"))


def drawn(test: str) -> random.Random:
    """Return the chance of one test: the same for the same seed."""
    return random.Random(f"{seed()}/{test}")


def repeating(test: str) -> str:
    """Return the command that repeats *test* with this seed."""
    return f"{ENVIRONMENT}={seed()} .venv/bin/pytest -n0 {test}"
