"""The link to the controller: MQTT over mutual TLS, with paho, and without trusting paho.

The rules this module keeps:

1. Every connection has a client object of its own. What an old one still says is dropped.
2. A watchdog gives a connection up when nothing was heard for 2.5 keepalives, or after a suspend.
3. Reconnects wait with full jitter; after a loss they also wait the last hello reply's spread.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from paho.mqtt import MQTTException

from agent.clock import new_nonce
from agent.connection import Connection, News, Settings
from agent.core.backoff import full_jitter, spread
from agent.logs import fields
from protocol.topics import UplinkKind
from protocol.units import MINUTE, SECOND

log = logging.getLogger(__name__)

BACKOFF_BASE_MS: Final = 1 * SECOND
BACKOFF_CAP_MS: Final = 5 * MINUTE


class Link:
    """A connection that is made again whenever it ends. `tell` is called from the link's threads."""

    def __init__(self, settings: Settings, tell: Callable[[News], None], *, spread_ms: Callable[[], int]) -> None:
        """Take the settings, whom to tell, and what tells the spread of the last hello reply."""
        self._settings = settings
        self._tell = tell
        self._spread_ms = spread_ms
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._supervise, name="link", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self, *, seconds: float) -> None:
        """Disconnect so that the will is published, and end; wait no longer than *seconds*."""
        self._stopping.set()
        self.reconnect()
        self._thread.join(seconds)

    def reconnect(self) -> None:
        """Give the connection up; the next one follows after a wait."""
        with self._lock:
            if self._connection is not None:
                self._connection.ended.set()

    def publish(self, kind: UplinkKind, payload: bytes, *, qos: int, report_seq: int | None = None) -> None:
        """Hand a message to the connection, if there is one; a report's answer comes as `Released`."""
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.publish(kind, payload, qos=qos, report_seq=report_seq)

    def _supervise(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            was_up = False
            try:
                was_up = self._connect_once()
            except (OSError, MQTTException, ValueError) as error:
                log.warning("connect_failed", extra=fields(host=self._settings.host, error=error))
            except Exception:
                log.exception("link_failed")
            attempt = 0 if was_up else attempt + 1
            self._stopping.wait(self._wait_ms(attempt, was_up=was_up) / SECOND)

    def _wait_ms(self, attempt: int, *, was_up: bool) -> int:
        seed = f"{self._settings.name}/{new_nonce()}"
        wait_ms = full_jitter(attempt=attempt, base_ms=BACKOFF_BASE_MS, cap_ms=BACKOFF_CAP_MS, seed=seed)
        return wait_ms + (spread(self._spread_ms(), seed=f"{seed}/spread") if was_up else 0)

    def _connect_once(self) -> bool:
        """Hold one connection from its beginning to its end; say whether it ever stood."""
        connection = Connection(self._settings, self._tell)
        with self._lock:
            self._connection = connection
        try:
            connection.hold(self._stopping)
        finally:
            with self._lock:
                self._connection = None
            connection.close()
        return connection.was_up
