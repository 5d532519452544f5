"""Enrolled devices."""

from typing import Any

import msgspec
import pytest

from controller.app.records import Candidate, Sighted
from controller.domain.pipeline import Targets
from controller.store.transaction import SqlTransaction
from protocol.ids import PARTITIONS, DeviceId, Name, partition_of
from tests.controller.store.samples import add_devices, at, device, installed


def only(tx: SqlTransaction, number: int = 1) -> Any:
    name = Name(f"acme:kiosk-{number:04}")
    return tx.devices.by_names([name])[name]


def test_a_device_comes_back_as_it_was_stored(tx: SqlTransaction) -> None:
    record = device(
        1,
        labels={"region": "eu", 'a "quoted" \\ ключ': "ü"},
        facts={"os": "linux"},
        installed=(installed("shop", "2.0"),),
        is_broken=True,
        capabilities=("install",),
        incarnation="0" * 16,
        hello_seq=2**53 - 1,
        seq=2**53 - 1,
        instance=3,
        connection="c1",
        last_seen_at=at(4),
    )
    added = tx.devices.add(record)
    assert only(tx) == msgspec.structs.replace(record, id=added)


def test_ids_are_given_in_order_and_unknown_names_are_left_out(tx: SqlTransaction) -> None:
    assert add_devices(tx, 3) == [1, 2, 3]
    found = tx.devices.by_names([Name("acme:kiosk-0002"), Name("acme:nobody")])
    assert [(name, record.id) for name, record in found.items()] == [("acme:kiosk-0002", 2)]


def test_of_a_sender_no_more_is_read_than_decides_about_its_messages(tx: SqlTransaction) -> None:
    tx.devices.add(device(1, instance=7))
    tx.devices.add(device(2, is_blocked=True))
    found = tx.devices.senders([Name("acme:kiosk-0001"), Name("acme:kiosk-0002"), Name("acme:nobody")])
    one, two = found.values()
    assert (one.id, one.device, one.name) == (1, "kiosk-0001", "acme:kiosk-0001")
    assert (one.signing_key, one.is_blocked, one.instance) == (b"\1" * 32, False, 7)
    assert two.is_blocked is True


def test_more_names_than_one_statement_takes(tx: SqlTransaction) -> None:
    add_devices(tx, 1_203)
    assert len(tx.devices.by_names([Name(f"acme:kiosk-{n:04}") for n in range(2_500)])) == 1_203


def test_enrolment_anew_keeps_id_labels_seq_and_the_block(tx: SqlTransaction) -> None:
    first = tx.devices.add(device(1, labels={"region": "eu"}, seq=7, is_blocked=True, facts={"a": "b"}))
    again = tx.devices.add(device(1, labels={}, seq=0, signing_key=b"new" * 8, certificate_serial="ff"))
    assert again == first
    found = only(tx)
    assert (found.labels, found.seq, found.is_blocked) == ({"region": "eu"}, 7, True)
    assert (found.signing_key, found.certificate_serial, found.facts) == (b"new" * 8, "ff", {})


def test_pages_follow_the_device_id_and_end(tx: SqlTransaction) -> None:
    add_devices(tx, 5)
    nothing: Any = {"labels": {}, "online": None, "instance": 1, "app": None, "version": None}
    first = tx.devices.page(**nothing, after="", limit=3)
    rest = tx.devices.page(**nothing, after=first[-1].device, limit=3)
    assert [d.id for d in (*first, *rest)] == [1, 2, 3, 4, 5]
    assert tx.devices.page(**nothing, after=rest[-1].device, limit=3) == []


FILTERS = [
    ({"labels": {"region": "eu"}}, [1, 3]),
    ({"labels": {"region": "eu", "tier": "gold"}}, [3]),
    ({"labels": {"region": "EU"}}, []),
    ({"labels": {'$."x"': "1", 'a"b\\c': "q'; --"}}, [2]),
    ({"labels": {"region') or 1=1 --": "eu"}}, []),
    ({"online": True}, [1]),
    ({"online": False}, [2, 3]),
    ({"online": True, "instance": 0}, []),
    ({"app": "shop"}, [1, 2]),
    ({"app": "shop", "version": "2.1"}, [1]),
    ({"app": "shop", "version": "9"}, []),
    ({"version": "9"}, [2]),
    ({"version": "1.10"}, []),
    ({"app": ""}, []),
    ({"app": "shop", "online": False}, [2]),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_filters(tx: SqlTransaction, filters: dict[str, Any], expected: list[int]) -> None:
    shop = installed("shop", "2.1")
    tx.devices.add(device(1, labels={"region": "eu"}, instance=7, installed=(shop,), agent="1.10"))
    mixed = (installed("shop", "2.0"), installed("till", "9"))
    tx.devices.add(device(2, labels={'$."x"': "1", 'a"b\\c': "q'; --"}, instance=6, installed=mixed))
    tx.devices.add(device(3, labels={"region": "eu", "tier": "gold"}))
    wanted: Any = {"labels": {}, "online": None, "instance": 7, "app": None, "version": None, **filters}
    assert [d.id for d in tx.devices.page(**wanted, after="", limit=10)] == expected


def test_candidates_are_neither_blocked_nor_broken(tx: SqlTransaction) -> None:
    tx.devices.add(device(1, is_blocked=True))
    tx.devices.add(device(2, is_broken=True))
    tx.devices.add(device(3, instance=4))
    name = Name("acme:kiosk-0003")
    expected = Candidate(id=3, device=DeviceId("kiosk-0003"), name=name, instance=4, model="k2")
    assert tx.devices.matching(Targets()) == [expected]


@pytest.mark.parametrize(("last", "now", "expected"), [(5, 9, 9), (9, 9, 10), (12, 9, 13), (8, 9, 9)])
def test_a_sequence_number_exceeds_the_last_and_follows_the_clock(
    tx: SqlTransaction, last: int, now: Any, expected: int
) -> None:
    tx.devices.add(device(1, seq=last))
    tx.devices.add(device(2, seq=0))
    assert tx.devices.allocate_seqs([1], at=now) == {1: expected}
    assert (only(tx).seq, only(tx, 2).seq) == (expected, 0)


def test_a_hello_changes_all_but_identity_labels_and_certificate(tx: SqlTransaction) -> None:
    tx.devices.add(device(1))
    before = only(tx)
    said = {
        "facts": {"os": "x"},
        "installed": (installed("shop", "2.1"),),
        "agent": "1.2",
        "capabilities": ("install", "hold"),
        "incarnation": "f" * 16,
        "hello_seq": 4,
        "seq": 99,
        "instance": 3,
        "connection": "c9",
        "last_seen_at": at(7),
    }
    tx.devices.save_hello(msgspec.structs.replace(before, labels={"not": "stored"}, model="other", **said))
    assert only(tx) == msgspec.structs.replace(before, **said)


def test_a_terminal_report_changes_what_is_installed(tx: SqlTransaction) -> None:
    add_devices(tx, 2)
    tx.devices.save_installed([(1, (), False), (1, [installed("shop", "2.1")], True)])
    assert (only(tx).installed, only(tx).is_broken) == ((installed("shop", "2.1"),), True)
    assert only(tx, 2).installed == ()


def test_only_the_newest_connection_can_say_that_a_device_is_gone(tx: SqlTransaction) -> None:
    tx.devices.add(device(1, connection="new", instance=3))
    assert not tx.devices.save_gone(1, connection="old", at=at(1))
    assert only(tx).instance == 3
    assert tx.devices.save_gone(1, connection="new", at=at(2))
    assert (only(tx).instance, only(tx).last_seen_at) == (0, at(2))


def test_whoever_was_online_in_any_life_is_found_in_pages_by_partition(tx: SqlTransaction) -> None:
    for number, life in enumerate((3, 0, 9, 9, 3), 1):
        tx.devices.add(device(number, instance=life, incarnation=f"i{number}"))
    first = tx.devices.sighted(range(PARTITIONS), after=0, limit=2)
    assert first == [Sighted(1, Name("acme:kiosk-0001"), "i1"), Sighted(3, Name("acme:kiosk-0003"), "i3")]
    assert [one.id for one in tx.devices.sighted(range(PARTITIONS), after=3, limit=2)] == [4, 5]
    assert tx.devices.sighted(range(PARTITIONS), after=5, limit=2) == []
    fourth = partition_of(Name("acme:kiosk-0004"))
    assert [one.id for one in tx.devices.sighted({fourth}, after=0, limit=9)] == [4]


def test_devices_can_be_marked_offline_whatever_their_connection(tx: SqlTransaction) -> None:
    for number in (1, 2):
        tx.devices.add(device(number, instance=3, connection="c", last_seen_at=at(1)))
    tx.devices.set_gone([1, 9])
    assert (only(tx).instance, only(tx).connection, only(tx).last_seen_at) == (0, "c", at(1))
    assert only(tx, 2).instance == 3


def test_labels_block_and_certificate_are_changed_for_one_device(tx: SqlTransaction) -> None:
    add_devices(tx, 2)
    tx.devices.set_labels(DeviceId("kiosk-0001"), {"a": "b"})
    tx.devices.set_blocked(DeviceId("kiosk-0001"), is_blocked=True)
    tx.devices.set_certificate(1, serial="beef", expires_at=at(5))
    found, other = only(tx), only(tx, 2)
    assert (found.labels, found.is_blocked) == ({"a": "b"}, True)
    assert (found.certificate_serial, found.certificate_expires_at) == ("beef", at(5))
    assert (other.labels, other.is_blocked, other.certificate_serial) == ({"region": "eu"}, False, "2")
    tx.devices.set_blocked(DeviceId("kiosk-0001"), is_blocked=False)
    assert not only(tx).is_blocked


def test_counts(tx: SqlTransaction) -> None:
    assert tx.devices.count() == 0
    tx.devices.add(device(1, instance=7, installed=(installed("shop", "1"), installed("till", "1"))))
    tx.devices.add(device(2, instance=6, installed=(installed("shop", "2"),)))
    tx.devices.add(device(3, instance=7, installed=(installed("shop", "2"),)))
    assert tx.devices.count() == 3
    tx.devices.add(device(3, installed=(installed("shop", "2"),)))
    assert tx.devices.count() == 3, "a device that enrols anew is no other one"
    for _ in range(2):
        tx.devices.set_removed(DeviceId("kiosk-0002"), at=at(5))
    assert tx.devices.count() == 2, "who is removed twice is gone once"
    tx.devices.set_removed(DeviceId("kiosk-0009"), at=at(5))
    assert tx.devices.count() == 2, "who is not there cannot be removed"
    tx.devices.set_removed(DeviceId("kiosk-0001"), at=at(5))
    assert tx.devices.count() == 1
    tx.devices.add(device(2, installed=(installed("shop", "2"),)))
    tx.devices.add(device(1, instance=7, installed=(installed("shop", "1"), installed("till", "1"))))
    assert tx.devices.count() == 3, "a device that comes back is counted again"
    assert tx.devices.installed_counts("shop") == {"1": 1, "2": 2}
    assert tx.devices.installed_counts("none") == {}
