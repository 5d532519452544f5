"""The audit log: append-only, each entry chained to the one before by hash."""

import hashlib
import json
from collections.abc import Sequence

from controller.app.access import Actor
from controller.app.records import AuditRecord
from controller.app.repositories import Transaction
from protocol.units import Instant

GENESIS = "0" * 64


def record(tx: Transaction, actor: Actor, verb: str, subject: str, *, at: Instant, reason: str = "") -> None:
    """Add an entry within the transaction of the act itself, so that neither is without the other."""
    last = tx.log.last_audit()
    previous = last.hash if last else GENESIS
    entry = _entry(at=at, actor=actor.name, verb=verb, subject=subject, reason=reason, previous=previous)
    tx.log.add_audit(entry)


def first_break(entries: Sequence[AuditRecord], *, previous: str = GENESIS) -> AuditRecord | None:
    """Return the first entry that does not fit the one before it, or None where the chain holds."""
    for entry in entries:
        made = _entry(
            at=entry.at,
            actor=entry.actor,
            verb=entry.verb,
            subject=entry.subject,
            reason=entry.reason,
            previous=previous,
        )
        if made.hash != entry.hash or entry.previous != previous:
            return entry
        previous = entry.hash
    return None


def _entry(*, at: Instant, actor: str, verb: str, subject: str, reason: str, previous: str) -> AuditRecord:
    content = json.dumps([previous, at, actor, verb, subject, reason], ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()
    return AuditRecord(at=at, actor=actor, verb=verb, subject=subject, reason=reason, previous=previous, hash=digest)
