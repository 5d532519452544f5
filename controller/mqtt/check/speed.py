"""Whether small messages wait for each other, and what acknowledged subscriptions cost.

Nagle's algorithm (RFC 896) holds a small segment back while one before it is not acknowledged, and a receiver that has
nothing to say delays its acknowledgement by some 40 ms (RFC 1122, section 4.2.3.2). In a talk, the broker's answer to
a publish is such a segment, and the next message waits behind it.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from controller.mqtt.check.findings import Finding, failed, judged
from controller.mqtt.check.peer import Peer, Refused
from controller.mqtt.check.site import FIRST, Site

WORDS: Final = 4
TALKS: Final = 7
QUIET_TALKS: Final = 2
PAUSE_S: Final = 0.1
DELAY_MS_MAX: Final = 80.0
"""For all words: half of what delayed acknowledgements cost them."""
EACH: Final = 8
"""Subscriptions of one client: on brokers where they are dear, it is their number in all that counts."""
ROUNDS: Final = 2
TRIES: Final = 2
"""A machine that is busy with something else makes one measurement slow, a broker makes both."""
DEARER: Final = 3.0
"""How much slower acknowledged subscriptions may be: our own work makes them slower too, though not twice."""


def check_speed(site: Site) -> Iterator[Finding]:
    """Check how fast the broker is, where its configuration or kind can make it slow."""
    yield _delay(site)
    yield _subscriptions(site)


def _delay(site: Site) -> Finding:
    """Compare a talk without pauses to one in which whatever waits for an acknowledgement has had it."""
    with site.lane("ears") as lane, site.device(FIRST) as device:
        lane.listen(site.uplink(FIRST, "#"))
        device.listen(site.downlink(FIRST))
        quiet_ms = min(_talk_ms(site, lane, device, pause_s=PAUSE_S) for _ in range(QUIET_TALKS))
        quick_ms = statistics.median(_talk_ms(site, lane, device) for _ in range(TALKS))
    found = (
        f"{WORDS} small messages and their answers take {quick_ms:.0f} ms, with pauses between them {quiet_ms:.0f} ms"
    )
    return judged("delay", found, is_good=quick_ms - quiet_ms <= DELAY_MS_MAX)


def _talk_ms(site: Site, lane: Peer, device: Peer, *, pause_s: float = 0.0) -> float:
    """Return how long four words and their answers take in all, in milliseconds, without the pauses before each."""
    span_s = 0.0
    for speaker, topic, ears in WORDS * (
        (device, site.uplink(FIRST, "report"), lane),
        (lane, site.downlink(FIRST), device),
    ):
        time.sleep(pause_s)
        ears.heard.clear()
        began = site.now_s()
        speaker.send(topic, b"word")
        if not ears.hears(b"word"):
            raise Refused("a small message does not come")
        span_s += site.now_s() - began
    return 1_000 * span_s


def _subscriptions(site: Site) -> Finding:
    clients, count = site.limits.clients, site.limits.clients * EACH
    with ExitStack() as stack:
        crowd = [stack.enter_context(site.lane(f"crowd-{number}")) for number in range(clients)]
        device = stack.enter_context(site.device(FIRST))
        for _ in range(TRIES):
            plain = _messages_per_s(site, crowd, device, qos=0)
            try:
                acknowledged = _messages_per_s(site, crowd, device, qos=1)
            except Refused as error:
                found = f"at QoS 0 {plain:.0f} messages/s to {count} subscriptions; at QoS 1 {error}"
                return failed("subscriptions", found)
            is_good = acknowledged * DEARER >= plain
            if is_good:
                break
    found = f"{acknowledged:.0f} messages/s to {count} subscriptions at QoS 1, {plain:.0f} at QoS 0"
    return judged("subscriptions", found, is_good=is_good)


def _messages_per_s(site: Site, crowd: Sequence[Peer], device: Peer, *, qos: int) -> float:
    """Return the rate at which messages at QoS 1 reach clients that subscribe at *qos*, each to topics of its own."""
    topics = []
    for number, member in enumerate(crowd):
        member.heard.clear()
        for each in range(EACH):
            topics.append(site.uplink(FIRST, f"{number}-{each}"))
            member.listen(topics[-1], qos=qos)
    began = site.now_s()
    device.publish_all((topic, b"go") for topic in topics * ROUNDS)
    for member in crowd:
        _hear_all(site, member)
    return len(topics) * ROUNDS / (max(member.heard[-1].at for member in crowd) - began)


def _hear_all(site: Site, member: Peer) -> None:
    if not member.wait(lambda: len(member.heard) >= EACH * ROUNDS, site.limits.prompt_s):
        raise Refused(f"one of many clients heard {len(member.heard)} of {EACH * ROUNDS} messages")
