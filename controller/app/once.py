"""One effect and one answer for each Idempotency-Key, however often the request comes.

The answer is stored in the transaction of the effect, so that neither is without the other. Answers are kept for
`KEPT_MS`; a key is its caller's own.
"""

from typing import Final, TypeVar

import msgspec

from controller.app.access import Actor
from controller.app.consequences import Consequences
from controller.app.controller import Controller, Work
from controller.app.errors import Conflict, KeyReused
from controller.app.records import AnswerRecord
from controller.app.repositories import Transaction
from protocol.units import DAY, Millis

KEPT_MS: Final = Millis(DAY)

T = TypeVar("T")


async def once(controller: Controller, actor: Actor, work: Work[T], *, kind: type[T], is_secret: bool = False) -> T:
    """Commit *work* and return its answer, or the answer it had when the same request came before.

    Args:
        controller: the controller.
        actor: who asks; without a key every request is a new one.
        work: the act; what it returns is the answer.
        kind: the type of the answer.
        is_secret: whether the answer must not be kept.

    Raises:
        KeyReused: when the key came with another request before.
        Conflict: when the answer was a secret, which is shown once.
    """

    def within(tx: Transaction, after: Consequences) -> T:
        request = actor.request
        if request is None:
            return work(tx, after)
        known = tx.log.answer(actor.name, request.key)
        if known is not None:
            return _repeated(known, request.fingerprint, kind)
        answer = work(tx, after)
        kept = None if is_secret else msgspec.json.encode(answer)
        record = AnswerRecord(
            actor=actor.name,
            key=request.key,
            fingerprint=request.fingerprint,
            answer=kept,
            at=controller.clock.now(),
        )
        tx.log.add_answer(record)
        return answer

    return await controller.write(within)


def _repeated(known: AnswerRecord, fingerprint: str, kind: type[T]) -> T:
    if known.fingerprint != fingerprint:
        raise KeyReused(f"the Idempotency-Key {known.key!r} came with another request before: use a new one")
    if known.answer is None:
        raise Conflict(f"the request with the Idempotency-Key {known.key!r} was carried out; its secret is shown once")
    return msgspec.json.decode(known.answer, type=kind)
