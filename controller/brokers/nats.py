"""NATS with its MQTT gateway as Tidegate needs it. Pure.

NATS speaks MQTT 3.1.1, and an acknowledged subscription costs it a consumer for each device, so what goes down is not
acknowledged (`Profile.MQTT311_QOS0`). A slash of a topic is a dot here; ``a/#`` is both ``a`` and ``a.>``.
"""

import json
from collections.abc import Sequence
from string import Template
from typing import Final

from controller.brokers.plan import (
    CA_FILE,
    CERTIFICATE_FILE,
    DATA_FOLDER,
    KEY_FILE,
    PACKET_BYTES_MAX,
    File,
    Plan,
    Rendered,
    bracketed,
    devices_of,
    url_of,
)
from controller.signing.authority import CONTROLLER_NAME, SAN_PREFIX
from protocol.ids import Name, split_name
from protocol.profiles import Profile
from protocol.topics import ROOT

CONFIGURATION: Final = "nats.conf"
DEVICES: Final = "tidegate-devices"
"""The user whom a device without one of its own becomes."""

_SUBJECTS: Final = ROOT.replace("/", ".")
_SESSION: Final = "$MQTT.sub.>"
"""What a session hears its acknowledged messages by (NATS, "MQTT: authorization of MQTT users")."""

_CONFIGURATION: Final = Template("""\
# NATS for Tidegate, written by `tidegate broker config nats`. Tried with NATS 2.15.1.
#
# What NATS enforces: nobody connects without a certificate of the installation's CA; only the controller hears the
# uplink and speaks on the downlink.
#
# What it does not, without JWT or an authentication callout: devices without a user of their own (see `users`) share
# one, so each can publish under the name of another and hear the commands for another. And nothing binds the client
# id to the certificate: who has a certificate can end the session of another device, or of a lane of the controller.
# Forged reports and commands have no effect, since they are signed, and secrets in commands are sealed; but ticks and
# the word that a connection is gone are not signed, and devices can be kept from connecting. Mosquitto, configured by
# `tidegate broker config mosquitto`, has none of these gaps.

server_name: "tidegate"

# NATS itself, which Tidegate does not use: any free port of loopback.
listen: "127.0.0.1:-1"
tls {
$tls
  verify: true
}
max_payload: $packet_bytes_max

jetstream {
  store_dir: "$folder/$data"
  max_memory_store: 256MB
  max_file_store: 4GB
  limits { default_max_consumers: 100000 }
}

mqtt {
  listen: $address
  # How long a message to the controller may be unacknowledged; a commit takes far less.
  ack_wait: "5s"
  max_ack_pending: 1000$no_auth_user
  tls {
$tls
  $mapping: true
  }
}

authorization {
  users: [
$users
  ]
}
""")

_TLS: Final = Template("""\
  ca_file: "$folder/$ca"
  cert_file: "$folder/$certificate"
  key_file: "$folder/$key"
  min_version: "1.3\"""")


def render(plan: Plan, *, devices: Sequence[Name] = ()) -> Rendered:
    """Return the configuration, without the certificate and its key.

    Args:
        plan: where the broker runs; devices and controller share the port of the devices.
        devices: who gets a user of its own, known by its certificate; without any, all devices share one.

    Raises:
        protocol.errors.InvalidName: when one of *devices* is not the name of a device.
    """
    return Rendered(
        files=(File(CONFIGURATION, _configuration(plan, devices).encode(), is_private=True),),
        configuration=CONFIGURATION,
        command=f"nats-server -c {plan.folder}/{CONFIGURATION}",
        url=url_of(plan, plan.device_port, is_by_certificate=bool(devices)),
        devices=devices_of(plan),
        profile=Profile.MQTT311_QOS0,
    )


def _configuration(plan: Plan, devices: Sequence[Name]) -> str:
    tls = _TLS.substitute(folder=plan.folder, ca=CA_FILE, certificate=CERTIFICATE_FILE, key=KEY_FILE)
    users = [_controller(plan, is_by_certificate=bool(devices))]
    users += [_device(name) for name in devices] if devices else [_shared()]
    return _CONFIGURATION.substitute(
        folder=plan.folder,
        data=DATA_FOLDER,
        packet_bytes_max=PACKET_BYTES_MAX,
        address=json.dumps(f"{bracketed(plan.device_bind) or '0.0.0.0'}:{plan.device_port}"),  # noqa: S104 - devices are anywhere
        tls=tls,
        mapping="verify_and_map" if devices else "verify",
        no_auth_user="" if devices else f"\n  no_auth_user: {json.dumps(DEVICES)}",
        users="\n".join(users),
    )


def _controller(plan: Plan, *, is_by_certificate: bool) -> str:
    hears = (f"{_SUBJECTS}.u", f"{_SUBJECTS}.u.>", _SESSION)
    if is_by_certificate:
        return _user(f"CN={CONTROLLER_NAME}", speaks=(f"{_SUBJECTS}.d.>",), hears=hears)
    return _user(CONTROLLER_NAME, password=plan.password, speaks=(f"{_SUBJECTS}.d.>",), hears=hears)


def _shared() -> str:
    return _user(DEVICES, speaks=(f"{_SUBJECTS}.u.>",), hears=(f"{_SUBJECTS}.d.>",))


def _device(name: Name) -> str:
    split_name(name)
    down = f"{_SUBJECTS}.d.{name}"
    return _user(f"{SAN_PREFIX}{name}", speaks=(f"{_SUBJECTS}.u.*.{name}.>",), hears=(down, f"{down}.>"))


def _user(user: str, *, speaks: Sequence[str], hears: Sequence[str], password: str = "") -> str:
    secret = f", password: {json.dumps(password)}" if password else ""
    allowed = f"publish: {{ allow: {json.dumps(speaks)} }}, subscribe: {{ allow: {json.dumps(hears)} }}"
    return f"    {{ user: {json.dumps(user)}{secret}, permissions: {{ {allowed} }} }}"
