"""The one way to change the store's tables, so that a transaction that raised leaves nothing behind.

>>> journal, table = Journal(), {"a": 1}
>>> def work():
...     journal.put(table, "a", 2)
...     journal.put(table, "b", 3)
...     raise ValueError(dict(table))
>>> journal.run(work)
Traceback (most recent call last):
ValueError: {'a': 2, 'b': 3}
>>> table
{'a': 1}
"""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

Undo = tuple[Callable[..., object], tuple[object, ...]]


class Journal:
    """How to take back each change of the open transaction, the last one first."""

    def __init__(self) -> None:
        self._undo: list[Undo] | None = None

    def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns; when it raises, whatever that is, take back all that it changed."""
        assert self._undo is None, "a transaction is open already"
        self._undo = []
        try:
            return work()
        except BaseException:
            for act, arguments in reversed(self._undo):
                act(*arguments)
            raise
        finally:
            self._undo = None

    def on_undo(self, act: Callable[..., object], *arguments: object) -> None:
        """Have *act* called when the transaction is taken back.

        Raises:
            AssertionError: when no transaction is open: what only reads has written.
        """
        assert self._undo is not None, "only a transaction that writes may change the store"
        self._undo.append((act, arguments))

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Set one entry of *table*."""
        if key in table:
            self.on_undo(table.__setitem__, key, table[key])
        else:
            self.on_undo(table.__delitem__, key)
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> None:
        """Take one entry that is there out of *table*; taken back, it comes last."""
        self.on_undo(table.__setitem__, key, table[key])
        del table[key]

    def insert(self, sequence: list[V], index: int, value: V) -> None:
        """Insert *value* before *index*."""
        self.on_undo(sequence.pop, index)
        sequence.insert(index, value)
