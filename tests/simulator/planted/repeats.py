"""Bugs in what is made of requests that have names, and come again."""

from typing import Any

import pytest
from msgspec.structs import replace

from controller.app import once, wakeups
from controller.app.access import Actor
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import StorageUnavailable
from controller.app.records import AnswerRecord
from controller.app.repositories import Transaction
from controller.app.runs import control, starting
from simulator.memory.log import MemoryLog
from simulator.virtual.laws.once import HappensOnce
from tests.simulator.planted.planted import planted, wrap


def _overwrite(patch: pytest.MonkeyPatch) -> None:
    def add_answer(self: MemoryLog, answer: AnswerRecord) -> None:
        self._journal.put(self._answers, (answer.actor, answer.key), answer)

    wrap(patch, MemoryLog, "add_answer", lambda _: add_answer)


@planted("A request that comes again is carried out again.", HappensOnce)
def named_request_is_carried_out_again(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryLog, "answer", lambda _: lambda *_given: None)
    _overwrite(patch)


@planted("What was answered is kept in memory, and forgotten by a crash.", HappensOnce)
def answers_are_forgotten_by_a_crash(patch: pytest.MonkeyPatch) -> None:
    known: set[tuple[str, str]] = set()

    def recovering(recover: Any) -> Any:
        def recovered(controller: Controller) -> Any:
            known.clear()
            return recover(controller)

        return recovered

    def adding(add: Any) -> Any:
        def added(self: MemoryLog, answer: AnswerRecord) -> None:
            known.add((answer.actor, answer.key))
            add(self, answer)

        return added

    def asking(ask: Any) -> Any:
        return lambda self, actor, key: ask(self, actor, key) if (actor, key) in known else None

    wrap(patch, wakeups, "recover", recovering)
    _overwrite(patch)
    wrap(patch, MemoryLog, "add_answer", adding)
    wrap(patch, MemoryLog, "answer", asking)


@planted("Another request under a known key gets the answer of the first.", HappensOnce)
def key_answers_for_any_request(patch: pytest.MonkeyPatch) -> None:
    def around(repeated: Any) -> Any:
        return lambda known, fingerprint, kind: repeated(replace(known, fingerprint=fingerprint), fingerprint, kind)

    wrap(patch, once, "_repeated", around)


@planted("A request whose commit failed is answered all the same.", HappensOnce)
def failed_request_is_answered(patch: pytest.MonkeyPatch) -> None:
    def around(act_once: Any) -> Any:
        async def hopeful(controller: Controller, actor: Actor, work: Any, **how: Any) -> Any:
            made: list[Any] = []

            def noting(tx: Transaction, after: Consequences) -> Any:
                made.append(work(tx, after))
                return made[-1]

            try:
                return await act_once(controller, actor, noting, **how)
            except StorageUnavailable:
                return made[-1]

        return hopeful

    for module in (control, starting):
        wrap(patch, module, "once", around)
