"""Enrolled devices, on both stores."""

from typing import Any

import msgspec
import pytest

from controller.app.records import Candidate, DeviceRecord, Sighted
from controller.app.repositories import Transaction
from controller.domain.pipeline import Targets
from controller.domain.query import Described, parse
from protocol.ids import PARTITIONS, DeviceId, Name, partition_of
from protocol.units import Instant
from tests.controller.store.samples import NOW, add_devices, at, device, installed
from tests.simulator.memory.both import Either, write


def only(tx: Transaction, number: int = 1) -> DeviceRecord:
    name = Name(f"acme:kiosk-{number:04}")
    return tx.devices.by_names([name])[name]


def test_ids_are_given_in_order_and_names_come_sorted(tx: Transaction) -> None:
    assert add_devices(tx, 3) == [1, 2, 3]
    names = [Name("acme:kiosk-0003"), Name("acme:nobody"), Name("acme:kiosk-0001")]
    assert [(name, record.id) for name, record in tx.devices.by_names(names).items()] == [(names[2], 1), (names[0], 3)]
    assert only(tx, 2) == device(2, id=2)


def test_enrolment_anew_keeps_id_labels_seq_and_the_block(tx: Transaction) -> None:
    first = tx.devices.add(device(1, labels={"region": "eu"}, seq=7, is_blocked=True, facts={"a": "b"}))
    again = tx.devices.add(device(1, labels={}, seq=0, signing_key=b"new" * 8, device=DeviceId("other")))
    found = only(tx)
    assert again == first
    assert (found.labels, found.seq, found.is_blocked, found.facts) == ({"region": "eu"}, 7, True, {})
    tx.devices.set_labels(DeviceId("kiosk-0001"), {"a": "b"})
    assert only(tx).labels == {"region": "eu"}
    tx.devices.set_labels(DeviceId("other"), {"a": "b"})
    assert only(tx).labels == {"a": "b"}


def test_two_names_never_share_a_device_id(store: Either) -> None:
    write(store, lambda tx: add_devices(tx, 1))
    with pytest.raises(AssertionError):
        write(store, lambda tx: tx.devices.add(device(2, device=DeviceId("kiosk-0001"))))


PAGES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [2, 1, 3]),
    ({"limit": 2}, [2, 1]),
    ({"limit": 0}, []),
    ({"after": "kiosk-0002"}, [1, 3]),
    ({"labels": {"region": "eu"}}, [1, 3]),
    ({"labels": {"region": "eu", "tier": "gold"}}, [3]),
    ({"online": True}, [1]),
    ({"online": False}, [2, 3]),
    ({"online": True, "instance": 0}, []),
    ({"app": "shop"}, [2, 1]),
    ({"app": "shop", "version": "9"}, []),
    ({"version": "9"}, [2]),
]


@pytest.mark.parametrize(("filters", "expected"), PAGES)
def test_pages_follow_the_device_id_and_match_every_filter(
    tx: Transaction, filters: dict[str, Any], expected: list[int]
) -> None:
    eu = {"region": "eu"}
    numbered = {1: 5, 2: 2, 3: 7}
    tx.devices.add(device(numbered[1], labels=eu, instance=7, installed=(installed("shop", "2.1"),)))
    mixed = (installed("shop", "2.0"), installed("till", "9"))
    tx.devices.add(device(numbered[2], labels={}, instance=6, installed=mixed))
    tx.devices.add(device(numbered[3], labels={**eu, "tier": "gold"}))
    wanted: Any = {
        "labels": {},
        "online": None,
        "instance": 7,
        "app": None,
        "version": None,
        "after": "",
        "limit": 9,
        **filters,
    }
    assert [found.id for found in tx.devices.page(**wanted)] == expected


def test_candidates_are_neither_blocked_nor_broken(tx: Transaction) -> None:
    tx.devices.add(device(1, is_blocked=True))
    tx.devices.add(device(2, is_broken=True))
    tx.devices.add(device(3, instance=4))
    name = Name("acme:kiosk-0003")
    expected = Candidate(id=3, device=DeviceId("kiosk-0003"), name=name, instance=4, model="k2")
    assert tx.devices.matching(Targets()) == [expected]


def test_sequence_numbers_exceed_the_last_and_follow_the_clock(tx: Transaction) -> None:
    for number, last in ((1, 12), (2, 5), (3, 9), (4, 8)):
        tx.devices.add(device(number, seq=last))
    taken = tx.devices.allocate_seqs([4, 1, 2, 3, 1, 99], at=Instant(9))
    assert list(taken.items()) == [(1, 13), (2, 9), (3, 10), (4, 9)]
    assert [only(tx, number).seq for number in (1, 2, 3, 4)] == [13, 9, 10, 9]


def test_a_hello_changes_all_but_identity_labels_and_certificate(tx: Transaction) -> None:
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
        "is_blocked": True,
        "is_broken": True,
        "last_seen_at": at(7),
    }
    kept = {"labels": {"not": "stored"}, "model": "other", "certificate_serial": "x", "enrolled_at": at(9)}
    tx.devices.save_hello(msgspec.structs.replace(before, **said, **kept))
    assert only(tx) == msgspec.structs.replace(before, **said)


def test_what_is_installed_and_the_certificate_are_stored(tx: Transaction) -> None:
    add_devices(tx, 2)
    tx.devices.save_installed([(1, [installed("shop", "2.1")], True)])
    tx.devices.set_certificate(1, serial="beef", expires_at=at(5))
    found = only(tx)
    assert (found.installed, found.is_broken) == ((installed("shop", "2.1"),), True)
    assert (found.certificate_serial, found.certificate_expires_at) == ("beef", at(5))
    assert only(tx, 2) == device(2, id=2)


def test_only_the_newest_connection_can_say_that_a_device_is_gone(tx: Transaction) -> None:
    tx.devices.add(device(1, connection="new", instance=3))
    assert not tx.devices.save_gone(1, connection="old", at=at(1))
    assert only(tx).instance == 3
    assert tx.devices.save_gone(1, connection="new", at=at(2))
    assert (only(tx).instance, only(tx).last_seen_at) == (0, at(2))


def test_whoever_was_online_in_any_life_is_found_in_pages_by_partition(tx: Transaction) -> None:
    for number, life in enumerate((3, 0, 9, 9, 3), 1):
        tx.devices.add(device(number, instance=life, incarnation=f"i{number}"))
    first = tx.devices.sighted(range(PARTITIONS), after=0, limit=2)
    assert first == [Sighted(1, Name("acme:kiosk-0001"), "i1"), Sighted(3, Name("acme:kiosk-0003"), "i3")]
    assert [one.id for one in tx.devices.sighted(range(PARTITIONS), after=3, limit=2)] == [4, 5]
    assert tx.devices.sighted(range(PARTITIONS), after=5, limit=2) == []
    fourth = partition_of(Name("acme:kiosk-0004"))
    assert [one.id for one in tx.devices.sighted({fourth}, after=0, limit=9)] == [4]


def test_devices_can_be_marked_offline_whatever_their_connection(tx: Transaction) -> None:
    for number in (1, 2):
        tx.devices.add(device(number, instance=3, connection="c", last_seen_at=at(1)))
    tx.devices.set_gone([1, 9])
    assert (only(tx).instance, only(tx).connection, only(tx).last_seen_at) == (0, "c", at(1))
    assert only(tx, 2).instance == 3


def test_candidates_come_with_what_queries_ask_about(tx: Transaction) -> None:
    tx.devices.add(device(1, facts={"os": "x"}, labels={"a": "b"}, installed=(installed("shop", "2"),), agent="1"))
    tx.devices.add(device(2, is_broken=True))
    tx.devices.add(device(3, instance=5))
    tx.groups.add(["eu", "us"], at=NOW)
    for path in ("eu", "us"):
        tx.groups.add_members(path, [1])
    first, third = tx.devices.candidates([3, 2, 1, 9])
    assert first[0] == Candidate(1, DeviceId("kiosk-0001"), Name("acme:kiosk-0001"), 0, "k2")
    assert first[1] == Described(
        device="kiosk-0001",
        model=device(1).model,
        agent="1",
        labels={"a": "b"},
        facts={"os": "x"},
        apps=(("shop", "2"),),
        groups=frozenset({"eu", "us"}),
    )
    assert (third[0].id, third[0].instance, third[1].groups) == (3, 5, frozenset())
    assert tx.devices.candidates([]) == []


def test_a_block_is_set_and_lifted(tx: Transaction) -> None:
    add_devices(tx, 2)
    tx.devices.set_blocked(DeviceId("kiosk-0001"), is_blocked=True)
    assert (only(tx).is_blocked, only(tx, 2).is_blocked) == (True, False)
    tx.devices.set_blocked(DeviceId("kiosk-0001"), is_blocked=False)
    assert not only(tx).is_blocked


def test_a_removed_device_is_blocked_and_neither_listed_nor_counted_until_it_is_enrolled_anew(tx: Transaction) -> None:
    add_devices(tx, 2)
    tx.devices.save_installed([(1, (installed("shop", "1"),), None)])
    tx.devices.set_removed(DeviceId("kiosk-0001"), at=at(5))
    assert (only(tx).is_blocked, only(tx).removed_at) == (True, at(5))
    assert [one.id for one in tx.devices.roll()] == [2]
    assert (tx.devices.count(), tx.devices.installed_counts("shop"), tx.devices.ids(parse("true"))) == (1, {}, [2])
    tx.devices.add(device(1))
    assert (only(tx).is_blocked, only(tx).removed_at, tx.devices.count()) == (True, None, 2)


def test_changes_to_a_device_that_there_is_not_do_nothing(tx: Transaction) -> None:
    add_devices(tx, 1)
    tx.devices.save_hello(device(9, id=9))
    tx.devices.save_installed([(9, (), True)])
    tx.devices.set_certificate(9, serial="x", expires_at=at(1))
    tx.devices.set_labels(DeviceId("nobody"), {})
    tx.devices.set_blocked(DeviceId("nobody"), is_blocked=True)
    assert not tx.devices.save_gone(9, connection="", at=at(1))
    assert only(tx) == device(1, id=1)


def test_counts(tx: Transaction) -> None:
    assert tx.devices.count() == 0
    tx.devices.add(device(1, instance=7, installed=(installed("shop", "2"), installed("till", "1"))))
    tx.devices.add(device(2, instance=6, installed=(installed("shop", "1"),)))
    tx.devices.add(device(3, instance=7, installed=(installed("shop", "2"),)))
    assert tx.devices.count() == 3
    tx.devices.add(device(3, installed=(installed("shop", "2"),)))
    assert tx.devices.count() == 3, "a device that enrols anew is no other one"
    assert list(tx.devices.installed_counts("shop").items()) == [("1", 1), ("2", 2)]
    assert tx.devices.installed_counts("none") == {}
