"""Mosquitto 2.0 as Tidegate needs it: a listener for devices, and one for the controller. Pure.

What was tried against 2.0.11, and is why the settings are as they are:

- A client may take over any session whose client id it knows. Devices get no choice: theirs is their certificate's
  common name (``use_username_as_clientid``). The controller has sixteen ids, so its listener asks for a password.
- At the defaults, acknowledged messages for an absent session are dropped beyond the first 1,000.
- Without ``set_tcp_nodelay`` a publisher that waits for answers gets a sixteenth of the throughput.
"""

import base64
import hashlib
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
    devices_of,
    url_of,
)
from controller.signing.authority import CONTROLLER_NAME
from protocol.profiles import Profile
from protocol.topics import ROOT

CONFIGURATION: Final = "mosquitto.conf"
DEVICE_ACL: Final = "devices.acl"
CONTROLLER_ACL: Final = "controller.acl"
PASSWORDS: Final = "passwords"
SALT_BYTES: Final = 12

QUEUED_MESSAGES_MAX: Final = 100_000
QUEUED_BYTES_MAX: Final = 64 * 1024 * 1024
"""For each session. Of sixteen lanes, a gigabyte in all while no controller runs."""

_ROUNDS: Final = 101
"""Of PBKDF2; Mosquitto's default. The password is drawn and too long to guess, and a broker of one thread hashes each
attempt, so that more rounds would help whoever wants to keep it busy."""

_CONFIGURATION: Final = Template("""\
# Mosquitto for Tidegate, written by `tidegate broker config mosquitto`. Tried with Mosquitto 2.0.11.
# Each device takes a file descriptor: give the broker's service a LimitNOFILE above the size of the fleet.

per_listener_settings true
user $user

# What is kept while a lane of the controller is away. Devices hold no sessions here, and what a crash of the broker
# loses they send again: the controller's own acknowledgement counts, never the broker's.
persistence true
persistence_location $folder/$data/
autosave_interval 300
persistent_client_expiration 1d
max_queued_messages $queued_messages_max
max_queued_bytes $queued_bytes_max
max_inflight_messages 1000
queue_qos0_messages false

# No state of Tidegate lives in a broker: nothing retained, nothing larger than a message of ours.
retain_available false
max_packet_size $packet_bytes_max
sys_interval 0

# Without this, Nagle's algorithm and delayed acknowledgements wait for each other.
set_tcp_nodelay true

log_dest stderr
log_type error
log_type warning
log_type notice
log_timestamp_format %Y-%m-%dT%H:%M:%S

# Devices: the certificate's common name is user name and client id, so that nobody can be somebody else.
listener $device_port$device_bind
max_qos 1
$tls
use_identity_as_username true
use_username_as_clientid true
acl_file $folder/$device_acl

# The controller: a certificate is not enough, since devices have one too. Keep this port from them all the same.
listener $controller_port$controller_bind
max_qos 1
$tls
password_file $folder/$passwords
acl_file $folder/$controller_acl
""")

_TLS: Final = Template("""\
allow_anonymous false
allow_zero_length_clientid false
cafile $folder/$ca
certfile $folder/$certificate
keyfile $folder/$key
require_certificate true
tls_version tlsv1.3""")

_DEVICE_ACL: Final = f"""\
# A device speaks under its own name, and hears what is for it. %u is its certificate's common name.
pattern write {ROOT}/u/+/%u/#
pattern read {ROOT}/d/%u/#
"""

_CONTROLLER_ACL: Final = f"""\
# The controller hears every device and speaks to each.
user {CONTROLLER_NAME}
topic read {ROOT}/u/#
topic write {ROOT}/d/#
"""


def render(plan: Plan, *, salt: bytes) -> Rendered:
    """Return the configuration, without the certificate and its key.

    Args:
        plan: where the broker runs.
        salt: `SALT_BYTES` drawn bytes for the hash of the password.
    """
    files = (
        File(CONFIGURATION, _configuration(plan).encode()),
        File(DEVICE_ACL, _DEVICE_ACL.encode()),
        File(CONTROLLER_ACL, _CONTROLLER_ACL.encode()),
        File(PASSWORDS, f"{CONTROLLER_NAME}:{hashed(plan.password, salt=salt)}\n".encode(), is_private=True),
    )
    return Rendered(
        files=files,
        configuration=CONFIGURATION,
        command=f"mosquitto -c {plan.folder}/{CONFIGURATION}",
        url=url_of(plan, plan.controller_port),
        devices=devices_of(plan),
        profile=Profile.MQTT5,
        preparation=f"chown -R {plan.user}: {plan.folder}",
    )


def hashed(password: str, *, salt: bytes) -> str:
    """Return *password* as Mosquitto's password files hold it: PBKDF2 with SHA-512 (mosquitto_passwd(1))."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _configuration(plan: Plan) -> str:
    tls = _TLS.substitute(folder=plan.folder, ca=CA_FILE, certificate=CERTIFICATE_FILE, key=KEY_FILE)
    return _CONFIGURATION.substitute(
        folder=plan.folder,
        data=DATA_FOLDER,
        user=plan.user,
        tls=tls,
        queued_messages_max=QUEUED_MESSAGES_MAX,
        queued_bytes_max=QUEUED_BYTES_MAX,
        packet_bytes_max=PACKET_BYTES_MAX,
        device_port=plan.device_port,
        device_bind=_bound(plan.device_bind),
        device_acl=DEVICE_ACL,
        controller_port=plan.controller_port,
        controller_bind=_bound(plan.controller_bind),
        controller_acl=CONTROLLER_ACL,
        passwords=PASSWORDS,
    )


def _bound(bind: str) -> str:
    return f" {bind}" if bind else ""
