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
from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

Undo = tuple[dict[Any, Any] | None, Any, Any]
"""A table, a key and what was there; or None, a function and its arguments. Millions of them must stay small."""

_NOTHING: Final = object()
_READ_ONLY: Final = "only a transaction that writes may change the store"


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
            _take_back(self._undo)
            raise
        finally:
            self._undo = None

    def on_undo(self, act: Callable[..., object], *arguments: object) -> None:
        """Have *act* called when the transaction is taken back.

        Raises:
            AssertionError: when no transaction is open: what only reads has written. So do all changes below.
        """
        assert self._undo is not None, _READ_ONLY
        self._undo.append((None, act, arguments))

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Set one entry of *table*."""
        assert self._undo is not None, _READ_ONLY
        self._undo.append((table, key, table.get(key, _NOTHING)))
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> None:
        """Take one entry that is there out of *table*; taken back, it comes last."""
        assert self._undo is not None, _READ_ONLY
        self._undo.append((table, key, table[key]))
        del table[key]

    def insert(self, sequence: list[V], index: int, value: V) -> None:
        """Insert *value* before *index*."""
        self.on_undo(sequence.pop, index)
        sequence.insert(index, value)


def _take_back(undo: list[Undo]) -> None:
    for table, key, before in reversed(undo):
        if table is None:
            key(*before)
        elif before is _NOTHING:
            del table[key]
        else:
            table[key] = before
