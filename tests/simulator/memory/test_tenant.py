"""Both stores keep what holds for the tenant as a whole."""

from controller.app.records import FreezeRecord
from controller.app.repositories import Transaction
from controller.domain.freeze import Freeze
from tests.controller.store.samples import NOW, at


def freeze(name: str, start: int) -> FreezeRecord:
    span = Freeze(name=name, starts_at=at(start), ends_at=at(start + 5), reason="sale", pipelines=("shop",))
    return FreezeRecord(name=name, freeze=span, actor="ann", created_at=NOW)


def test_the_calendar_is_kept_in_the_order_of_its_starts(tx: Transaction) -> None:
    later, sooner, same = freeze("a", 9), freeze("c", 1), freeze("b", 1)
    for record in (later, sooner, same):
        tx.tenant.add_freeze(record)
    assert tx.tenant.freezes() == [same, sooner, later]
    tx.tenant.drop_freeze("b")
    assert tx.tenant.freezes() == [sooner, later]
