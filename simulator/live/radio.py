"""How one simulated device is connected: it dials, comes back after a loss, and hands messages both ways.

The rules this module keeps:

1. At most one connection of a device is made or stands at a time; what an earlier one still says is dropped.
2. It reconnects with full jitter over a doubling limit; after a loss it also waits the spread that was asked for.
3. Once switched off it is silent, and what was being dialled is cut.
"""

import asyncio
import os
import random
import ssl
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from agent.clock import new_nonce
from agent.core.backoff import full_jitter, spread
from protocol.codec import encode
from protocol.messages import Gone
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import SECOND
from simulator.live.behaviour import Character
from simulator.live.enrolment import Papers
from simulator.live.link import Link, Topics

RECONNECT_BASE_MS: Final = 500
RECONNECT_CAP_MS: Final = 30_000
HANDSHAKE_SECONDS: Final = 30


class Air(Protocol):
    """What connections need of the process that they live in."""

    counts: Counter[str]
    dialling: asyncio.Semaphore

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where the endpoint is."""

    def tls(self, papers: Papers) -> ssl.SSLContext:
        """Return a TLS context with the device's certificate."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* until the process ends."""


class User(Protocol):
    """Whom a radio serves."""

    @property
    def spread_ms(self) -> int:
        """The spread that the controller asked for last."""

    def connected(self, nonce: str) -> None:
        """Take note that messages go both ways now; *nonce* names the connection."""

    def disconnected(self) -> None:
        """Take note that they do not any more."""

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Take a message."""

    def settled(self, token: int) -> None:
        """Take note that the message with this token is acknowledged, well or not."""


class Radio:
    """A device's connection, made again whenever it ends; implements `simulator.live.link.Owner`."""

    __slots__ = (
        "_air",
        "_chance",
        "_is_dialling",
        "_is_on",
        "_link",
        "_papers",
        "_timer",
        "_topics",
        "_try_count",
        "_user",
        "is_up",
    )

    def __init__(self, character: Character, papers: Papers, *, air: Air, user: User) -> None:
        """Take what the device is like, its papers, the process, and whom to serve."""
        self._papers = papers
        self._air = air
        self._user = user
        self._chance = random.Random(f"{character.seed}/radio")
        self._topics = Topics.of(papers.name)
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._try_count = 0
        self._is_dialling = False
        self._is_on = False
        self.is_up = False

    # --- the device's side ----------------------------------------------------------------------------------

    def switch_on(self, *, after_ms: int) -> None:
        """Begin to connect, after a while."""
        self._is_on = True
        self._dial_after(after_ms)

    def switch_off(self) -> None:
        """Fall silent without a goodbye."""
        self._is_on = False
        if self._timer is not None:
            self._timer.cancel()
        self.cut("the power is gone")

    def leave(self) -> None:
        """Say goodbye and fall silent."""
        self._is_on = False
        if self._link is not None:
            self._link.leave()
        self.switch_off()

    def cut(self, why: str) -> None:
        """Lose the connection, if there is one."""
        if self._link is not None:
            self._link.cut(why)

    def publish(self, kind: UplinkKind, payload: bytes, *, token: int | None) -> None:
        """Publish once where there is a connection: at QoS 1 where there is a *token*."""
        if self.is_up and self._link is not None:
            self._link.publish(kind, payload, token=token)

    # --- dialling -------------------------------------------------------------------------------------------

    def _dial_after(self, span_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(span_ms / SECOND, self._dial)

    def _dial(self) -> None:
        if self._is_on and self._link is None and not self._is_dialling:
            self._is_dialling = True
            self._air.spawn(self._connect())

    async def _connect(self) -> None:
        nonce = new_nonce()
        will = encode(Gone(connection=nonce))
        host, port = self._air.mqtt

        def link() -> Link:
            return Link(self, name=self._papers.name, topics=self._topics, will=will, nonce=nonce)

        try:
            async with self._air.dialling:
                _, made = await asyncio.get_running_loop().create_connection(
                    link, host, port, ssl=self._air.tls(self._papers), ssl_handshake_timeout=HANDSHAKE_SECONDS
                )
        except OSError as error:
            self._is_dialling = False
            self._air.counts[f"dial:{type(error).__name__}"] += 1
            self._dial_again()
            return
        self._is_dialling = False
        if not made.is_over:
            self._link = made
        if not self._is_on:
            self.cut("the power is gone")

    def _dial_again(self, *, is_lost: bool = False) -> None:
        if not self._is_on:
            return
        seed = str(self._chance.random())
        wait_ms = full_jitter(attempt=self._try_count, base_ms=RECONNECT_BASE_MS, cap_ms=RECONNECT_CAP_MS, seed=seed)
        self._try_count += 1
        self._dial_after(wait_ms + (spread(self._user.spread_ms, seed=f"{seed}/spread") if is_lost else 0))

    # --- the connection's side ------------------------------------------------------------------------------

    def up(self, link: Link) -> None:
        """Take note that the subscriptions are granted."""
        self._link = link
        self._try_count = 0
        self.is_up = True
        self._user.connected(link.nonce)

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Pass a message on."""
        self._user.came(kind, payload)

    def settled(self, token: int) -> None:
        """Pass an acknowledgement on."""
        self._user.settled(token)

    def lost(self, link: Link, why: str) -> None:
        """Take note that the connection is gone, and come back."""
        if self._link is not None and link is not self._link:
            return
        was_up, self.is_up, self._link = self.is_up, False, None
        self._air.counts[f"lost:{why}"] += 1
        if was_up:
            self._user.disconnected()
        self._dial_again(is_lost=was_up)


def client_context(ca: str, pem: bytes) -> ssl.SSLContext:
    """Return the TLS context of a device; the key passes through memory only, though `ssl` reads files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    file = os.memfd_create("papers")
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context
