"""A device that leaves the fleet is waited for, counted and believed no more, until it is enrolled anew."""

from collections.abc import Iterator
from typing import Any

import pytest

from controller.app import devices, groups, removing, restraining, tokens
from controller.app.access import Actor, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from controller.app.inbox import Inbox
from controller.app.ports import Disposition
from protocol.lifecycle import AttemptState
from protocol.messages import Op
from protocol.units import HOUR, later
from tests.controller.app.rig import Rig, stage


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.enrol("a", "b", "c", region="eu")
    rig.connect("a", "b")
    yield rig
    rig.close()


def enrol_anew(rig: Rig, *, hardware_id: str = "a") -> None:
    """Enrol device a once more, with the key it has."""
    claim = rig.do(tokens.create_claim, uses=1, expires_at=later(rig.clock.now(), HOUR)).secret
    given = {"claim": claim, "device": "a", "model": "k2", "hardware_id": hardware_id, "csr_pem": "x"}
    key = rig.devices["a"].key.public
    rig.wait(devices.enrol(rig.controller, **given, signing_key=key, sealing_key=bytes(32)))


def test_a_removed_device_leaves_every_run_and_is_counted_nowhere(rig: Rig) -> None:
    rig.do(groups.create, path="eu")
    rig.do(groups.add_devices, path="eu", devices=["c"])
    run = rig.start(stage())
    rig.report("a", AttemptState.INSTALLING)
    rig.do(removing.remove, device="a", reason="sold")
    rig.do(removing.remove, device="c", reason="scrapped")
    rig.succeed("b")

    assert rig.counters(run) == {"succeeded": 1, "removed": 2}
    assert rig.view(run).state == "succeeded"
    assert rig.target(run, "c").detail == "scrapped"
    assert [one.device for one in rig.do(devices.list_devices, labels={}).items] == ["b"]
    assert rig.do(groups.list_groups)[0].devices == 0


def test_a_device_at_work_is_called_back_and_its_session_closed(rig: Rig) -> None:
    rig.start(stage())
    rig.report("a", AttemptState.INSTALLING)
    name = rig.devices["a"].name
    view = rig.do(removing.remove, device="a", reason="sold")
    commands = rig.wait(rig.store.read(lambda tx: tx.commands.controls_for([1])))
    assert [command.op for command in commands] == [Op.CANCEL]
    assert (view.removed_at, view.online) == (rig.clock.now(), False)
    assert name in rig.wire.closed


def test_nothing_of_it_is_believed(rig: Rig) -> None:
    rig.do(removing.remove, device="a", reason="sold")
    assert rig.hello("a") is Disposition.UNTRUSTED
    with pytest.raises(Conflict, match="enrol it anew"):
        rig.do(devices.unblock, device="a", reason="found")


def test_no_later_run_gets_it(rig: Rig) -> None:
    rig.do(removing.remove, device="a", reason="sold")
    run = rig.start(stage())
    assert rig.counters(run) == {"in_progress": 1, "queued": 1}


def test_enrolling_it_anew_brings_it_back_with_its_labels_even_in_other_hardware(rig: Rig) -> None:
    rig.do(removing.remove, device="a", reason="broken board")
    enrol_anew(rig, hardware_id="new")
    rig.connect("a")
    view = rig.do(devices.get, device="a")
    assert (view.removed_at, view.blocked, view.online, view.labels["region"]) == (None, False, True, "eu")


def test_a_recorded_hello_is_worth_nothing_after_an_enrolment_with_the_same_key(rig: Rig) -> None:
    recorded = rig.said_hello("a", agent="older")
    rig.receive([recorded])
    rig.hello("a", agent="newer")
    rig.do(removing.remove, device="a", reason="lost")
    enrol_anew(rig)
    rig.receive([recorded])
    assert rig.do(devices.get, device="a").agent == ""
    rig.connect("a", agent="newer")
    assert rig.do(devices.get, device="a").agent == "newer"


def test_removing_twice_is_removing_once(rig: Rig) -> None:
    first = rig.do(removing.remove, device="c", reason="sold")
    rig.sleep(HOUR)
    assert rig.do(removing.remove, device="c", reason="again").removed_at == first.removed_at


def test_strangers_reasons_and_rights_are_checked(rig: Rig) -> None:
    with pytest.raises(NotFound):
        rig.do(removing.remove, device="zz", reason="sold")
    with pytest.raises(InvalidRequest):
        rig.do(removing.remove, device="a", reason=" ")
    with pytest.raises(NotAllowed):
        rig.do(removing.remove, Actor(name="v", role=Role.VIEWER), device="a", reason="sold")


def test_nothing_is_ordered_about_a_device_that_was_removed(rig: Rig) -> None:
    rig.do(groups.create, path="eu")
    rig.do(removing.remove, device="a", reason="sold")
    orders = (
        lambda: rig.do(devices.set_labels, device="a", labels={"ring": "canary"}),
        lambda: rig.do(restraining.hold, device="a", reason="at the fair"),
        lambda: rig.do(restraining.pin, device="a", app="shop", versions="1.0", reason="as agreed"),
        lambda: rig.do(devices.block, device="a", reason="lost"),
    )
    for order in orders:
        with pytest.raises(Conflict, match="'a' was removed: enrol it anew"):
            order()
    with pytest.raises(NotFound, match="not enrolled: a"):
        rig.do(groups.add_devices, path="eu", devices=["a"])


@pytest.mark.parametrize("shut_out", [removing.remove, devices.block])
def test_a_hello_that_was_being_read_when_its_device_was_shut_out_changes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, shut_out: Any
) -> None:
    store = Inbox._store

    async def late(self: Inbox, stored: Any) -> Any:
        await shut_out(rig.controller, Actor(name="ann", role=Role.ADMIN), device="a", reason="sold")
        return await store(self, stored)

    rig.lose("a")
    monkeypatch.setattr(Inbox, "_store", late)
    rig.hello("a", agent="newer")

    view = rig.do(devices.get, device="a")
    assert (view.agent, view.online) == ("test", False)
