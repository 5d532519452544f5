"""The threads that compute."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from controller.bootstrap import COMPUTE_THREADS, SHARE_MIN, Threads

TIMEOUT_S = 10


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.close()


@pytest.mark.parametrize("count", [0, 1, SHARE_MIN, SHARE_MIN + 1, 2 * SHARE_MIN, 1_001])
def test_results_come_in_the_order_of_their_items(threads: Threads, count: int) -> None:
    assert asyncio.run(threads.map(lambda item: item * item, range(count))) == [n * n for n in range(count)]


def test_all_threads_share_a_batch(threads: Threads) -> None:
    together = threading.Barrier(COMPUTE_THREADS)

    def meet(index: int) -> str:
        if index % SHARE_MIN == 0:
            together.wait(TIMEOUT_S)  # breaks unless another thread comes
        return threading.current_thread().name

    names = asyncio.run(threads.map(meet, range(COMPUTE_THREADS * SHARE_MIN)))
    assert len(set(names)) == COMPUTE_THREADS


def test_a_few_items_wake_one_thread(threads: Threads) -> None:
    names = asyncio.run(threads.map(lambda _: threading.current_thread().name, range(SHARE_MIN)))
    assert len(set(names)) == 1


def test_an_error_is_the_callers(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(threads.map(lambda item: 1 // item, range(3 * SHARE_MIN)))
