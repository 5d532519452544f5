"""Every check, as one table: what it asks of a broker, how bad a failure is, what that means, what to set."""

from enum import StrEnum
from typing import Final

import msgspec


class Verdict(StrEnum):
    """What became of a check."""

    OK = "ok"
    WARNING = "warning"
    UNSAFE = "unsafe"
    NOT_CHECKED = "not checked"


class Family(StrEnum):
    """Checks that are made together, by one module."""

    DOORS = "doors"
    BASICS = "basics"
    RIGHTS = "rights"
    IDS = "client ids"
    WILLS = "wills"
    SESSIONS = "sessions"
    REDELIVERY = "redelivery"
    CAPACITY = "capacity"
    SPEED = "speed"
    SHARED = "shared subscriptions"
    RESTART = "restart"


class Check(msgspec.Struct, frozen=True):
    """One question. `severity` is the verdict of a failure: OK where the answer only informs."""

    name: str
    family: Family
    severity: Verdict
    asks: str
    means: str
    remedy: str


_OK, _WARNING, _UNSAFE = Verdict.OK, Verdict.WARNING, Verdict.UNSAFE

CHECKS: Final = (
    # --- who gets in ---
    Check(
        "reachable",
        Family.DOORS,
        _UNSAFE,
        "Does the broker listen where it is said to be?",
        "Nothing else can be asked, and the controller cannot reach it from here either.",
        "Start the broker; look at TIDEGATE_BROKER_URL and TIDEGATE_BROKER_DEVICES, and at the --host of "
        "'tidegate broker config'.",
    ),
    Check(
        "tls",
        Family.DOORS,
        _UNSAFE,
        "Does the broker show a certificate of the expected CA, for the name it is called by?",
        "Anybody on the way could pose as the broker, or read along.",
        "Issue the broker's certificate with 'tidegate broker config'; name the CA with --ca.",
    ),
    Check(
        "old-tls",
        Family.DOORS,
        _WARNING,
        "Is TLS 1.1 refused?",
        "Old TLS can be broken; no device of ours needs it.",
        "mosquitto: tls_version tlsv1.2 on every listener.",
    ),
    Check(
        "plain",
        Family.DOORS,
        _UNSAFE,
        "Is a client without TLS kept out?",
        "Without TLS nobody knows who speaks, and everybody on the way reads along.",
        "mosquitto: remove listeners without certfile, and 'allow_anonymous false'.",
    ),
    Check(
        "certificate",
        Family.DOORS,
        _UNSAFE,
        "Is a client kept out that has no certificate?",
        "Strangers could use up the broker, and read or write what its rights allow to anonymous clients.",
        "mosquitto: require_certificate true; NATS: tls { verify_and_map: true }.",
    ),
    Check(
        "foreign-certificate",
        Family.DOORS,
        _UNSAFE,
        "Is a certificate of another CA refused?",
        "Anybody could make a certificate with a device's name, and be that device.",
        "mosquitto: cafile is the installation's ca.crt alone; NATS: tls { ca_file }.",
    ),
    Check(
        "mqtt5",
        Family.DOORS,
        _WARNING,
        "Is MQTT 5 spoken?",
        "MQTT 3.1.1 does: there a forbidden publish looks like any other, and nobody is told why a connection ends.",
        "Set the profile that is printed below.",
    ),
    Check(
        "mqtt3.1.1",
        Family.DOORS,
        _OK,
        "Is MQTT 3.1.1 spoken?",
        "Needed only where MQTT 5 is not spoken.",
        "",
    ),
    # --- what everything rests on ---
    Check(
        "traffic",
        Family.BASICS,
        _UNSAFE,
        "Do a device's word and the controller's answer pass, at QoS 1?",
        "Tidegate cannot work with this broker as it is set up.",
        "mosquitto ACL: 'pattern write tg/1/u/+/%u/#', 'pattern read tg/1/d/%u/#', and for user tidegate-controller "
        "'topic read tg/1/u/#', 'topic write tg/1/d/#'.",
    ),
    Check(
        "wildcards",
        Family.BASICS,
        _UNSAFE,
        "Are subscriptions with wildcards available?",
        "The controller's lanes subscribe to whole partitions.",
        "Allow wildcard subscriptions.",
    ),
    Check(
        "receive-maximum",
        Family.BASICS,
        _WARNING,
        "Does the broker take as many unanswered publishes of one lane as the controller may send?",
        "Commands go out more slowly: a lane waits for answers.",
        "mosquitto: max_inflight_messages 1000; NATS: mqtt { max_ack_pending: 1000 }.",
    ),
    Check(
        "packet-maximum",
        Family.BASICS,
        _UNSAFE,
        "Does the broker announce room for a whole message?",
        "Large commands or reports never arrive.",
        "mosquitto: max_packet_size 20480 (or more).",
    ),
    Check(
        "session-expiry",
        Family.BASICS,
        _WARNING,
        "Is a session granted the day that a lane asks for?",
        "After a longer stop of the controller, all devices are asked to say hello again.",
        "mosquitto: persistent_client_expiration 2d, or none.",
    ),
    Check(
        "server-keepalive",
        Family.BASICS,
        _OK,
        "Which keepalive does the broker impose?",
        "",
        "",
    ),
    # --- rights ---
    Check(
        "foreign-uplink",
        Family.RIGHTS,
        _UNSAFE,
        "Is a device kept from speaking for another one?",
        "Signed reports cannot be forged, but presence and progress can, and a flood counts against another device.",
        "mosquitto: acl_file with 'pattern write tg/1/u/+/%u/#' and no wider rule for devices. "
        "NATS: a user for each device.",
    ),
    Check(
        "foreign-command",
        Family.RIGHTS,
        _UNSAFE,
        "Is a device kept from writing where commands go?",
        "Commands are signed, so that none can be forged; but old ones can be replayed and devices be flooded.",
        "mosquitto: acl_file in which only user tidegate-controller may write tg/1/d/#. "
        "NATS: no permission to publish there for devices.",
    ),
    Check(
        "foreign-reading",
        Family.RIGHTS,
        _UNSAFE,
        "Is a device kept from reading what others say and are told?",
        "Any device sees the whole fleet: names, versions, commands and reports.",
        "mosquitto: acl_file with 'pattern read tg/1/d/%u/#' and no wider rule for devices. "
        "NATS: a user for each device.",
    ),
    Check(
        "foreign-will",
        Family.RIGHTS,
        _UNSAFE,
        "Is a device kept from leaving a will in another one's name?",
        "Any device can make others look gone.",
        "As for foreign-uplink; a broker that checks wills less strictly than publishes is not fit.",
    ),
    Check(
        "refusals",
        Family.RIGHTS,
        _OK,
        "Is whoever publishes something forbidden told so?",
        "Where it is acknowledged in silence, a wrong rule looks like a lost message; the agent's reports stay in its "
        "outbox.",
        "",
    ),
    Check(
        "retained",
        Family.RIGHTS,
        _WARNING,
        "Are retained messages refused?",
        "Tidegate uses none: whatever a device has the broker retain comes up again at each start of the controller.",
        "mosquitto: retain_available false. NATS cannot refuse them.",
    ),
    # --- client ids ---
    Check(
        "device-id",
        Family.IDS,
        _UNSAFE,
        "Is a device's client id safe from other devices?",
        "Any device can throw others out, again and again, by connecting under their name.",
        "mosquitto: use_username_as_clientid true on the devices' listener, a password on the controller's. "
        "NATS binds no client id to a certificate.",
    ),
    Check(
        "lane-id",
        Family.IDS,
        _UNSAFE,
        "Is the client id of a controller's lane safe from devices?",
        "Any device can cut the controller off, and throw away what the broker keeps for it.",
        "mosquitto: use_username_as_clientid true on the devices' listener, a password on the controller's. "
        "NATS binds no client id to a certificate.",
    ),
    # --- wills ---
    Check(
        "will-at-loss",
        Family.WILLS,
        _WARNING,
        "Is a will published when a connection breaks?",
        "Devices that are gone look online until they are not heard of for long.",
        "Allow wills; rights must let a device write tg/1/u/+/<name>/gone.",
    ),
    Check(
        "will-at-farewell",
        Family.WILLS,
        _WARNING,
        "Is a will published when a device asks for it as it leaves (MQTT 5)?",
        "Devices that are switched off look online until they are not heard of for long.",
        "Take a broker that follows MQTT 5.0, section 3.14.2.1.",
    ),
    Check(
        "will-at-leave",
        Family.WILLS,
        _WARNING,
        "Is a will dropped when its device leaves in order?",
        "More devices look gone than are; they say hello again.",
        "Take a broker that follows MQTT 5.0, section 3.1.2.5.",
    ),
    Check(
        "will-at-takeover",
        Family.WILLS,
        _OK,
        "When the same device connects anew, is the old connection's will published, and in which order?",
        "Any answer is good: a will carries its connection's nonce, and a stale one is ignored.",
        "",
    ),
    # --- sessions ---
    Check(
        "resumption",
        Family.SESSIONS,
        _UNSAFE,
        "Does a session under a fixed client id outlive its connection, with what came meanwhile?",
        "Whatever devices say while the controller restarts comes late, and all of them are asked to say hello again.",
        "mosquitto: persistence true, and no max_queued_messages below 1000.",
    ),
    Check(
        "takeover",
        Family.SESSIONS,
        _UNSAFE,
        "Does a second connection under one client id end the first?",
        "Two controllers could hold one lane, and neither would know.",
        "Take a broker that follows MQTT 5.0, section 3.1.4.",
    ),
    Check(
        "redelivery",
        Family.REDELIVERY,
        _UNSAFE,
        "After a takeover, does everything come again that was not acknowledged?",
        "Reports that the broker took are lost on the way; devices must send them again, after a long wait.",
        "mosquitto: max_queued_messages 100000, max_inflight_messages 1000.",
    ),
    Check(
        "redelivery-order",
        Family.REDELIVERY,
        _WARNING,
        "Does it come in order, and older messages before newer ones?",
        "Nothing is lost or wrong: the controller copes. Progress may jump.",
        "",
    ),
    Check(
        "redelivery-twice",
        Family.REDELIVERY,
        _WARNING,
        "Does nothing come again that was acknowledged?",
        "Nothing is wrong: the controller knows what it has stored. It does work twice.",
        "NATS: mqtt { ack_wait } well above the controller's commit time: 5s.",
    ),
    Check(
        "redelivery-delay",
        Family.REDELIVERY,
        _WARNING,
        "Does it come soon?",
        "After a restart of the controller, reports wait that long.",
        "NATS: mqtt { ack_wait: 5s }.",
    ),
    Check(
        "redelivery-mark",
        Family.REDELIVERY,
        _OK,
        "Is what comes again marked as such (DUP)?",
        "The controller does not need it.",
        "",
    ),
    # --- how much ---
    Check(
        "whole-message",
        Family.CAPACITY,
        _UNSAFE,
        "Does a message of full length pass, both ways?",
        "Large commands or reports never arrive.",
        "mosquitto: max_packet_size 20480 (or more) or none; message_size_limit 0.",
    ),
    Check(
        "giant-message",
        Family.CAPACITY,
        _WARNING,
        "Is a message of 1 MB refused?",
        "A single device can fill the broker's memory, and the queue of a lane.",
        "mosquitto: max_packet_size 20480; NATS: max_payload: 20480.",
    ),
    Check(
        "offline-queue",
        Family.CAPACITY,
        _WARNING,
        "Is everything kept for a lane that is away, for a few thousand messages?",
        "What is dropped was acknowledged to its device all the same; it comes only when the device sends it again.",
        "mosquitto: max_queued_messages 100000 and max_queued_bytes 0, or large.",
    ),
    # --- how fast ---
    Check(
        "delay",
        Family.SPEED,
        _WARNING,
        "Do small messages that follow each other pass without waiting for each other?",
        "Each message may wait 40 ms for the acknowledgement of the one before (Nagle's algorithm).",
        "mosquitto: set_tcp_nodelay true.",
    ),
    Check(
        "subscriptions",
        Family.SPEED,
        _WARNING,
        "Do acknowledged subscriptions of many clients cost little more than plain ones?",
        "Commands to a large fleet crawl.",
        "Set the profile mqtt3.1.1-qos0: commands go down unacknowledged, and again where no answer comes.",
    ),
    # --- the rest ---
    Check(
        "shared-subscriptions",
        Family.SHARED,
        _OK,
        "What becomes of shared subscriptions ($share)?",
        "Tidegate does not use them: they strand or lose messages on most brokers.",
        "",
    ),
    Check(
        "shared-reading",
        Family.SHARED,
        _UNSAFE,
        "Is a device kept from taking messages off others by a shared subscription?",
        "Any device sees what others say.",
        "mosquitto: 'pattern read tg/1/d/%u/#' and no wider rule for devices.",
    ),
    Check(
        "restart",
        Family.RESTART,
        _WARNING,
        "Do sessions and what is queued in them outlive a kill of the broker?",
        "Nothing is lost for good: all devices are asked to say hello, and send again what is not acknowledged.",
        "mosquitto: persistence true; a kill loses what came since the last save (autosave_interval).",
    ),
)

BY_NAME: Final = {check.name: check for check in CHECKS}
