"""Invariant 12, of what people ask for: a request that has a name happens once, and has one answer."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from controller.app.errors import KeyReused, StorageUnavailable
from simulator.virtual.laws.law import Asked, Complaints, Law, Named
from simulator.virtual.picture import Commit, Picture

_NO_WORD: Final = StorageUnavailable.slug
"""The refusal that says nothing of the request."""


class HappensOnce(Law):
    """A request with an Idempotency-Key is carried out once, however often it comes, and always answered alike.

    Once it was answered, another request under its key is refused. In worlds whoever names a request names no other,
    so that the log tells of a person what was carried out under one key.
    """

    number = 12

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._asked_by: dict[str, str] = {}
        self._count: dict[str, int] = defaultdict(int)
        self._answers: dict[str, Named] = {}

    def asked(self, asked: Asked) -> Complaints:
        """Take note of who has named a request."""
        if asked.is_named:
            self._asked_by[asked.by] = f"{asked.act} {asked.subject}"
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Count the transactions in which something was carried out for whoever has named a request."""
        for person in sorted({entry.actor for entry in commit.audit} & self._asked_by.keys()):
            self._count[person] += 1
            if self._count[person] > 1:
                yield f"{person} asked to {self._asked_by[person]} under one key, and it was carried out once more"

    def named(self, named: Named) -> Complaints:
        """Compare with the first answer."""
        if not named.error and not self._count[named.by]:
            yield f"{self._asked_by[named.by]} was answered, and never carried out"
        first = self._answers.get(named.by)
        if first is None and not named.error:
            self._answers[named.by] = named
        elif first is not None and named.error != _NO_WORD:
            yield from self._repeated(first, named)

    def _repeated(self, first: Named, named: Named) -> Iterator[str]:
        what, now = f"{self._asked_by[named.by]} under key {named.request.key}", named.error or "otherwise"
        if first.request == named.request:
            if (named.answer, named.error) != (first.answer, first.error):
                yield f"{what} was answered, and when it came again, it was answered {now}"
        elif named.error != KeyReused.slug:
            yield f"{what} was answered, and another request under that key was answered {now}"
