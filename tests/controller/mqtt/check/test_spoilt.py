"""Mosquitto set up badly, one way at a time: each is found, in words that tell what to mend, and nothing else is."""

from typing import NamedTuple

import pytest

from controller.mqtt.check.basics import check_basics
from controller.mqtt.check.capacity import check_capacity
from controller.mqtt.check.catalogue import BY_NAME, Verdict
from controller.mqtt.check.doors import check_doors
from controller.mqtt.check.program import Checker
from controller.mqtt.check.redelivery import check_redelivery
from controller.mqtt.check.rights import check_rights
from controller.mqtt.check.sessions import check_sessions
from controller.mqtt.check.shared import check_shared
from controller.mqtt.check.speed import check_speed
from controller.mqtt.check.theft import check_ids
from controller.mqtt.check.wills import check_wills
from simulator.brokers import Kind
from tests.brokers import needs
from tests.controller.mqtt.check.conftest import Make
from tests.controller.mqtt.check.world import bad, verdicts

pytestmark = needs(Kind.MOSQUITTO)

UNSAFE, WARNING = Verdict.UNSAFE, Verdict.WARNING


class Spoilt(NamedTuple):
    """What is changed, who should notice, what is found with which words, and what the remedy names."""

    title: str
    changes: dict[str, str]
    checker: Checker
    found: dict[str, tuple[Verdict, str]]
    remedy: str
    file: str = "mosquitto.conf"


CASES = (
    Spoilt(
        "a device chooses its client id",
        {"use_username_as_clientid true\n": ""},
        check_ids,
        {
            "device-id": (UNSAFE, "the owner was thrown out at localhost"),
            "lane-id": (UNSAFE, "the owner was thrown out at localhost"),
        },
        "use_username_as_clientid true",
    ),
    Spoilt(
        "a certificate is enough at the controller's listener",
        {"password_file": "use_identity_as_username true\n#"},
        check_ids,
        {
            "device-id": (UNSAFE, "the owner was thrown out at 127.0.0.1"),
            "lane-id": (UNSAFE, "the owner was thrown out at 127.0.0.1"),
        },
        "a password on the controller's",
    ),
    Spoilt(
        "devices have all rights",
        {"pattern read": "pattern readwrite #\npattern read"},
        check_rights,
        {
            "foreign-uplink": (UNSAFE, "heard"),
            "foreign-command": (UNSAFE, "heard"),
            "foreign-reading": (UNSAFE, "tg/1/u/#"),
            "foreign-will": (UNSAFE, "heard"),
        },
        "acl_file",
        file="devices.acl",
    ),
    Spoilt(
        "devices may read all that devices say",
        {"pattern read": "pattern read tg/1/u/#\npattern read"},
        check_shared,
        {"shared-reading": (UNSAFE, "heard")},
        "pattern read tg/1/d/%u/#",
        file="devices.acl",
    ),
    Spoilt(
        "messages are retained",
        {"retain_available false": "retain_available true"},
        check_rights,
        {"retained": (WARNING, "kept, and sent to whoever subscribes later")},
        "retain_available false",
    ),
    Spoilt(
        "devices need no certificate",
        {
            "require_certificate true": "require_certificate false",
            "allow_anonymous false": "allow_anonymous true",
            "use_identity_as_username true": "",
            "use_username_as_clientid true": "",
        },
        check_doors,
        {
            "certificate": (UNSAFE, "let in at localhost"),
            "foreign-certificate": (UNSAFE, "let in at localhost"),
        },
        "require_certificate true",
    ),
    Spoilt(
        "TLS is old",
        {"tls_version tlsv1.3": "tls_version tlsv1.1\nciphers DEFAULT:@SECLEVEL=0"},
        check_doors,
        {"old-tls": (WARNING, "TLSv1.1 is spoken at localhost")},
        "tls_version tlsv1.2",
    ),
    Spoilt(
        "the queue is tiny",
        {"max_queued_messages 100000": "max_queued_messages 100", "max_inflight_messages 1000": ""},
        check_capacity,
        {"offline-queue": (WARNING, "of 1500 acknowledged messages kept: 0-")},
        "max_queued_messages 100000",
    ),
    Spoilt(
        "a session keeps next to nothing",
        {
            "max_queued_messages 100000": "max_queued_messages 4",
            "max_inflight_messages 1000": "max_inflight_messages 2",
        },
        check_sessions,
        {"resumption": (UNSAFE, "of 10 messages kept")},
        "max_queued_messages",
    ),
    Spoilt(
        "what waits for acknowledgements is dropped",
        {"max_queued_messages 100000": "max_queued_messages 10", "max_inflight_messages 1000": ""},
        check_redelivery,
        {"redelivery": (UNSAFE, "lost are ")},
        "max_queued_messages",
    ),
    Spoilt(
        "few publishes may be unanswered",
        {"max_inflight_messages 1000": "max_inflight_messages 20"},
        check_basics,
        {"receive-maximum": (WARNING, "20; a lane uses up to 256")},
        "max_inflight_messages 1000",
    ),
    Spoilt(
        "packets are short",
        {"max_packet_size 17408": "max_packet_size 8192"},
        check_basics,
        {"packet-maximum": (UNSAFE, "8192 bytes; needed are 17408")},
        "max_packet_size",
    ),
    Spoilt(
        "messages are cut down",
        {"max_packet_size 17408": "max_packet_size 8192"},
        check_capacity,
        {"whole-message": (UNSAFE, "16384 bytes on tg/1/u/check/acme:check-a/report do not arrive")},
        "max_packet_size",
    ),
    Spoilt(
        "messages may be of any length",
        {"max_packet_size 17408": ""},
        check_capacity,
        {"giant-message": (WARNING, "1000000 bytes are passed on")},
        "max_packet_size",
    ),
    Spoilt(
        "small messages wait",
        {"set_tcp_nodelay true": "set_tcp_nodelay false"},
        check_speed,
        {"delay": (WARNING, "4 small messages and their answers take ")},
        "set_tcp_nodelay true",
    ),
    Spoilt(
        "a device may not say that it is gone",
        {"pattern write tg/1/u/+/%u/#": "pattern write tg/1/u/+/%u/report\npattern write tg/1/u/+/%u/hello"},
        check_wills,
        {"will-at-loss": (WARNING, "not heard"), "will-at-farewell": (WARNING, "not heard")},
        "gone",
        file="devices.acl",
    ),
    Spoilt(
        "a device may not speak",
        {"pattern write": "#"},
        check_basics,
        {"traffic": (UNSAFE, "a device's report is not heard by the controller")},
        "pattern write tg/1/u/+/%u/#",
        file="devices.acl",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_bad_setting_is_found_and_nothing_else(case: Spoilt, make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.edit(case.changes, file=case.file)
    world.broker.start()

    found = verdicts(case.checker, world.site())

    assert bad(found) == {name: verdict for name, (verdict, _) in case.found.items()}
    for name, (_, words) in case.found.items():
        assert words in found[name].found
    assert any(case.remedy in BY_NAME[name].remedy for name in case.found)
