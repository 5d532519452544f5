"""Whether small messages wait for each other, and what acknowledged subscriptions cost.

Nagle's algorithm (RFC 896) holds a small segment back while one before it is not acknowledged, and a receiver that has
nothing to say delays its acknowledgement by some 40 ms (RFC 1122, section 4.2.3.2). In a talk, the broker's answer to
a publish is such a segment, and the next message waits behind it.
"""

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

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
TRIES: Final = 3
"""A machine that is busy with something else makes any one measurement slow: the best of each kind are compared."""
DEARER: Final = 3.0
"""How much slower acknowledged subscriptions may be: our own work makes them slower too, though not twice."""
DEARER_TO_MAKE: Final = 2.0
"""How much longer making them may take: brokers for which they are cheap need as long for both kinds."""


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


class Cost(NamedTuple):
    """What subscriptions at one QoS cost: the shortest time in which a client got all of its own, and the rate."""

    subscribing_s: float
    messages_per_s: float


def _subscriptions(site: Site) -> Finding:
    """Compare both costs: one broker makes acknowledged subscriptions when they are asked for, another as it serves."""
    clients, count = site.limits.clients, site.limits.clients * EACH
    plain, acknowledged = [], []
    with ExitStack() as stack:
        crowd = [stack.enter_context(site.lane(f"crowd-{number}")) for number in range(clients)]
        device = stack.enter_context(site.device(FIRST))
        for _ in range(TRIES):
            plain.append(_cost(site, crowd, device, qos=0))
            try:
                acknowledged.append(_cost(site, crowd, device, qos=1))
            except Refused as error:
                found = (
                    f"at QoS 0 {_best(plain).messages_per_s:.0f} messages/s to {count} subscriptions; at QoS 1 {error}"
                )
                return failed("subscriptions", found)
    return _compared(_best(plain), _best(acknowledged), count)


def _compared(plain: Cost, acknowledged: Cost, count: int) -> Finding:
    found = (
        f"{acknowledged.messages_per_s:.0f} messages/s to {count} subscriptions at QoS 1, "
        f"{plain.messages_per_s:.0f} at QoS 0; {EACH} are made in "
        f"{1_000 * acknowledged.subscribing_s:.1f} ms at QoS 1, in {1_000 * plain.subscribing_s:.1f} ms at QoS 0"
    )
    is_cheap = acknowledged.subscribing_s <= DEARER_TO_MAKE * plain.subscribing_s
    return judged(
        "subscriptions", found, is_good=is_cheap and acknowledged.messages_per_s * DEARER >= plain.messages_per_s
    )


def _best(costs: Sequence[Cost]) -> Cost:
    return Cost(min(cost.subscribing_s for cost in costs), max(cost.messages_per_s for cost in costs))


def _cost(site: Site, crowd: Sequence[Peer], device: Peer, *, qos: int) -> Cost:
    """Return what it costs that messages at QoS 1 reach clients that subscribe at *qos*, each to topics of its own."""
    topics, subscribing_s = [], math.inf
    for number, member in enumerate(crowd):
        member.heard.clear()
        mine = [site.uplink(FIRST, f"{number}-{each}") for each in range(EACH)]
        began = site.now_s()
        for topic in mine:
            member.listen(topic, qos=qos)
        subscribing_s = min(subscribing_s, site.now_s() - began)
        topics += mine
    began = site.now_s()
    device.publish_all((topic, b"go") for topic in topics * ROUNDS)
    for member in crowd:
        _hear_all(site, member)
    rate = len(topics) * ROUNDS / (max(member.heard[-1].at for member in crowd) - began)
    return Cost(subscribing_s, rate)


def _hear_all(site: Site, member: Peer) -> None:
    if not member.wait(lambda: len(member.heard) >= EACH * ROUNDS, site.limits.prompt_s):
        raise Refused(f"one of many clients heard {len(member.heard)} of {EACH * ROUNDS} messages")
