"""Settings of the way over a broker, and of what checks may reach."""

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from controller.address import BrokerAddress, Place
from controller.config import Settings
from protocol.profiles import Profile

URL = "mqtts://tide:secret@broker.example:8884"


def test_without_a_broker_the_endpoint_serves() -> None:
    assert Settings().broker is None


def test_a_broker_is_given_by_its_url_and_where_devices_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_BROKER_URL", URL)
    monkeypatch.setenv("TIDEGATE_BROKER_DEVICES", "broker.example:8883")
    monkeypatch.setenv("TIDEGATE_BROKER_PROFILE", "mqtt3.1.1-qos0")
    settings = Settings()
    assert settings.broker == BrokerAddress("broker.example", 8884, user="tide", password="secret")
    assert settings.devices_at_broker == Place("broker.example", 8883)
    assert settings.broker_profile is Profile.MQTT311_QOS0
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"broker_url": URL}, "go together"),
        ({"broker_devices": "broker.example:8883"}, "go together"),
        ({"broker_url": "secret", "broker_devices": "b:1"}, "expected mqtts://"),
        ({"broker_url": URL, "broker_devices": "b"}, "expected host:port"),
        ({"broker_url": URL, "broker_devices": "b:1", "broker_profile": "mqtt6"}, "mqtt3.1.1"),
    ],
)
def test_half_a_broker_is_refused_and_its_password_kept(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        Settings(**given)
    assert "secret" not in str(refused.value)


def test_checks_reach_public_addresses_over_tls_alone_unless_more_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Settings().networks_of_checks, Settings().check_plain_http, Settings().check_ca) == ((), False, None)
    monkeypatch.setenv("TIDEGATE_CHECK_NETWORKS", "10.20.0.0/16, fd00::/8")
    monkeypatch.setenv("TIDEGATE_CHECK_PLAIN_HTTP", "true")
    settings = Settings()
    assert settings.networks_of_checks == (ip_network("10.20.0.0/16"), ip_network("fd00::/8"))
    assert settings.check_plain_http


@pytest.mark.parametrize("networks", ["shop.example", "10.20.0.1/16", "10.0.0.0/8;fd00::/8"])
def test_what_is_no_network_is_refused_at_the_start(networks: str) -> None:
    with pytest.raises(ValidationError, match="check_networks"):
        Settings(check_networks=networks)
