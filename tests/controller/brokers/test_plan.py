"""What a plan refuses, and what the files say."""

from base64 import b64decode
from typing import Any

import pytest

from controller.app.errors import InvalidRequest
from controller.brokers import mosquitto, nats
from controller.brokers.plan import Plan, Rendered, devices_of, url_of
from controller.signing.authority import CONTROLLER_NAME
from protocol.profiles import Profile

BASE: dict[str, Any] = {"folder": "/etc/broker", "hosts": ("mqtt.example",), "password": "secret"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hosts": ()}, "no host"),
        ({"device_port": 8884}, "port 8884"),
        ({"folder": "/tmp/a\nallow_anonymous true"}, "folder"),
        ({"folder": '/tmp/"; x'}, "folder"),
        ({"user": "root\nlistener 1883"}, "user"),
        ({"user": "a b"}, "no spaces"),
        ({"controller_bind": "::1 \nlistener 1883"}, "address for the controller"),
        ({"device_bind": "0.0.0.0 1"}, "address to listen at"),
    ],
)
def test_nothing_is_planned_that_would_say_more_than_one_word(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        Plan(**(BASE | change))


@pytest.mark.parametrize(
    ("bind", "host", "certified"),
    [
        ("127.0.0.1", "127.0.0.1", ("mqtt.example", "127.0.0.1")),
        ("", "mqtt.example", ("mqtt.example",)),
        ("0.0.0.0", "mqtt.example", ("mqtt.example",)),
        ("::", "mqtt.example", ("mqtt.example",)),
        ("::1", "[::1]", ("mqtt.example", "::1")),
    ],
)
def test_the_controller_is_told_an_address_that_listens_and_is_certified(
    bind: str, host: str, certified: tuple[str, ...]
) -> None:
    plan = Plan(**BASE, controller_bind=bind)
    assert url_of(plan, 8884) == f"mqtts://{CONTROLLER_NAME}:secret@{host}:8884"
    assert plan.certified_hosts == certified
    assert devices_of(plan) == "mqtt.example:8883"


@pytest.mark.parametrize(
    ("rendered", "profile"),
    [
        (mosquitto.render(Plan(**BASE), salt=bytes(12)), Profile.MQTT5),
        (nats.render(Plan(**BASE, controller_bind="")), Profile.MQTT311_QOS0),
    ],
    ids=["mosquitto", "nats"],
)
def test_only_private_files_hold_the_password(rendered: Rendered, profile: Profile) -> None:
    assert rendered.settings["TIDEGATE_BROKER_PROFILE"] == profile.value
    assert rendered.configuration in {file.name for file in rendered.files}
    assert rendered.configuration in rendered.command
    assert not [file.name for file in rendered.files if b"secret" in file.data and not file.is_private]


def test_a_hash_is_what_mosquitto_passwd_makes_of_password_and_salt() -> None:
    """Taken from `mosquitto_passwd -b -c` of Mosquitto 2.0.11."""
    digest = "ACIEQ5NYz7vx86sD2wy1aSl3akjeTXAnisoShodNA03KYpR7kdpzx7p6rn6uRR69gHcC4e/vTRnXgdIVFDjTRw=="
    salt = "An0MF4XAhxMOO4Js"
    assert mosquitto.hashed("open sesame", salt=b64decode(salt)) == f"$7$101${salt}${digest}"
