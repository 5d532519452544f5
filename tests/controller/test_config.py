"""Settings of the way over a broker."""

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
