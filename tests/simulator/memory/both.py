"""Working with whichever store there is."""

from collections.abc import Callable
from typing import TypeVar

from controller.app.ports import Priority
from controller.app.repositories import Transaction
from controller.store.inline_store import InlineStore
from simulator.memory.store import MemoryStore
from simulator.virtual.scheduler import run_now

T = TypeVar("T")
Either = InlineStore | MemoryStore


def write(store: Either, work: Callable[[Transaction], T]) -> T:
    """Run a transaction; a store that waits for anything fails the test."""
    return run_now(store.write(work, priority=Priority.INGEST))


def read(store: Either, work: Callable[[Transaction], T]) -> T:
    return run_now(store.read(work))
