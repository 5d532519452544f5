"""A controller that is killed at any write to its disk: nothing that it acknowledged is lost, nothing is done twice."""

from pathlib import Path
from typing import Final

import pytest

from tests.chaos import tracer
from tests.chaos.history import ALWAYS
from tests.chaos.world import small_world

pytestmark = pytest.mark.timeout(1_800)

SEED: Final = 1
TEST: Final = "tests/chaos/test_controller_killed.py"


@pytest.mark.skipif(not tracer.is_available(), reason="strace is missing or may not trace; the random kills stay")
@pytest.mark.parametrize(("syscall", "last", "sample"), [("fdatasync", 40, 6), ("pwrite64", 160, 6)])
async def test_a_controller_killed_at_any_write_goes_on_where_it_was(
    tmp_path: Path, syscall: str, last: int, sample: int
) -> None:
    numbers = tracer.points(syscall, last=last, sample=sample, seed=SEED)
    async with small_world(tmp_path) as w:
        for done, number in enumerate(numbers, start=1):
            repeat = tracer.repeating(syscall, numbers[:done], test=TEST)
            await w.run_until_killed(tracer.killed_at(syscall, number))
            w.check(checks=ALWAYS, repeat=repeat)
            await w.serve()
            await w.settled()
            w.check(repeat=repeat)
