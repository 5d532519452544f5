"""Which way to devices the settings choose."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from controller import ways
from controller.address import Place
from controller.app.errors import NotFound
from controller.clock import SystemChance, SystemClock
from controller.config import Settings
from controller.edge.endpoint import Endpoint
from controller.mqtt.broker import Broker
from controller.signing.installation import initialise
from controller.signing.keystore import Keystore
from controller.ways import Way
from protocol.ids import TenantId
from protocol.profiles import Profile
from tests.controller.mqtt.world import Inbox

BROKER: dict[str, Any] = {"broker_url": "mqtts://localhost:1", "broker_devices": "broker.example:8883"}
TENANT = TenantId("acme")


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    hosts, at = ["localhost"], SystemClock().now()
    return initialise(tmp_path / "keys", tmp_path / "offline", tenant=TENANT, hosts=hosts, at=at, password=None)


def chosen(keystore: Keystore, **settings: Any) -> Way:
    made = Settings(folder=keystore.folder, public_host="gate.example", mqtt_port=0, **settings)
    return ways.choose(
        made, keystore, Inbox(), tenant=TENANT, chance=SystemChance(), clock=SystemClock(), may_hold=lambda: True
    )


async def test_the_endpoint_serves_where_no_broker_is_named(keystore: Keystore) -> None:
    way = chosen(keystore)
    assert isinstance(way.transport, Endpoint)
    assert (way.devices.host, way.profile, way.faults()) == ("gate.example", Profile.MQTT5, ())
    assert way.devices.port > 0
    assert way.context is not None
    await way.transport.stop()


async def test_a_broker_is_used_where_one_is_named(keystore: Keystore) -> None:
    way = chosen(keystore, broker_profile=Profile.MQTT311, **BROKER)
    assert isinstance(way.transport, Broker)
    assert (way.devices, way.profile) == (Place("broker.example", 8883), Profile.MQTT311)
    assert way.faults(), "nothing stands before it runs"
    assert way.context is None


async def test_a_missing_authority_is_said_at_the_start(keystore: Keystore) -> None:
    with pytest.raises(NotFound):
        chosen(keystore, broker_ca=keystore.folder / "nowhere.crt", **BROKER)


async def test_a_broker_without_tls_is_warned_of(keystore: Keystore) -> None:
    with structlog.testing.capture_logs() as logs:
        way = chosen(keystore, **(BROKER | {"broker_url": "mqtt://localhost:1"}))
    assert isinstance(way.transport, Broker)
    assert way.transport.new_context() is None
    assert [line["event"] for line in logs] == ["broker_without_tls"]
