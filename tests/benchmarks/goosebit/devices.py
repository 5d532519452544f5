"""Devices that poll: hawkBit's Direct Device Integration API as goosebit speaks it, in the order of a real client.

poll → configData (once, to register); then poll → deploymentBase → download → feedback, the last one ``closed``.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import urllib3

HARDWARE: Final = ("bench", "1.0")
BASE: Final = "/DEFAULT/controller/v1"
REPORTS: Final = 5
"""As many as one of our devices sends: accepted, downloading, installing, verifying, succeeded."""
REQUEST_SECONDS: Final = 60.0


class DeviceFailed(Exception):
    """The server did not do what a device needs of it; the message says what."""


class Poller:
    """One device with a connection of its own, which it keeps."""

    def __init__(self, name: str, *, port: int) -> None:
        self._name = name
        self._base = f"{BASE}/{name}"
        self._connection = urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=REQUEST_SECONDS, retries=False)

    def close(self) -> None:
        self._connection.close()

    def poll(self) -> dict[str, str]:
        """Ask what there is to do: addresses by what they are for."""
        found = self._json("GET", self._base)
        return {what: link["href"] for what, link in found["_links"].items()}

    def register(self) -> None:
        """Appear, and say what this is."""
        links = self.poll()
        model, revision = HARDWARE
        attributes = {"hw_boardname": model, "hw_revision": revision, "sw_version": "0.0.1"}
        self._json("PUT", links["configData"], {"mode": "merge", "data": attributes})

    def install(self) -> None:
        """Do what there is to do, from the poll to the last report."""
        links = self.poll()
        if "deploymentBase" not in links:
            raise DeviceFailed(f"{self._name} is offered no deployment")
        deployment = self._json("GET", links["deploymentBase"])
        self._download(deployment["deployment"]["chunks"][0]["artifacts"][0])
        feedback = f"{self._base}/deploymentBase/{deployment['id']}/feedback"
        for _ in range(REPORTS - 1):
            self._json("POST", feedback, _status("proceeding", "none"))
        self._json("POST", feedback, _status("closed", "success"))

    def _download(self, artifact: dict[str, Any]) -> None:
        content = self._send("GET", artifact["_links"]["download"]["href"]).data
        if hashlib.sha1(content).hexdigest() != artifact["hashes"]["sha1"]:
            raise DeviceFailed(f"{self._name} got other bytes than it was promised")

    def _json(self, method: str, url: str, body: object = None) -> Any:
        return self._send(method, url, body).json()

    def _send(self, method: str, url: str, body: object = None) -> urllib3.BaseHTTPResponse:
        path = urllib3.util.parse_url(url).request_uri
        answer = self._connection.request(method, path, json=body)
        if answer.status >= 300:
            raise DeviceFailed(f"{self._name}: {method} {path}: {answer.status} {answer.data[:200]!r}")
        return answer


def _status(execution: str, finished: str) -> dict[str, object]:
    """Return a report without lines for the log: those would cost the server a further write each."""
    return {"status": {"execution": execution, "result": {"finished": finished}}}


@contextmanager
def pollers(count: int, *, port: int) -> Iterator[Sequence[Poller]]:
    """Register devices; their connections end with the block.

    They come one after the other: of several that bring a new kind of hardware at once, some are answered 500.
    """
    made = [Poller(f"bench-{number + 1:04}", port=port) for number in range(count)]
    try:
        for poller in made:
            poller.register()
        yield made
    finally:
        for poller in made:
            poller.close()


def each(devices: Sequence[Poller], work: Callable[[Poller], None], *, at_once: int) -> float:
    """Have every device do *work*, so many at a time; return the seconds that took."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        for done in [threads.submit(work, device) for device in devices]:
            done.result()
    return time.perf_counter() - begun


def poll_evenly(devices: Sequence[Poller], *, per_second: float, seconds: float) -> int:
    """Poll at an even rate, one device after the other, and return how often."""
    begun, count = time.perf_counter(), 0
    while (at := time.perf_counter() - begun) < seconds:
        if count <= at * per_second:
            devices[count % len(devices)].poll()
            count += 1
        else:
            time.sleep(min(count / per_second, seconds) - at)
    return count
