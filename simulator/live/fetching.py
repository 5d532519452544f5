"""Really fetch artifacts: every byte over HTTPS, hashed, and thrown away.

It is done in a few threads with the agent's own HTTP library, which takes a fifth of the CPU of an asynchronous one:
where thousands of devices share a machine with their controller, they must not be what is measured.
"""

import asyncio
import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final

import urllib3

from agent.core.model import Fault
from protocol.reasons import Reason
from protocol.trust import ReleaseInfo
from simulator.live.enrolment import Papers
from simulator.live.trust import signed_header

FETCHES_MAX: Final = 16
"""Real downloads at once, each with a connection that the next one takes over."""
REQUEST_SECONDS: Final = 30.0
WAIT_MAX_SECONDS: Final = 30.0
TRIES_MAX: Final = 20
_CHUNK_BYTES: Final = 65_536
_AGAIN: Final = urllib3.Retry(
    connect=0, read=1, redirect=False, status=0, other=0, respect_retry_after_header=False, backoff_factor=0
)
"""A kept connection may end just as it is taken: the controller closes those that are idle."""
_BUSY: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})


class _Busy(Exception):
    """The controller asks to come back later, after so many seconds."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


class Fetching:
    """Downloads for all devices of a process."""

    def __init__(self, server: urllib3.HTTPConnectionPool) -> None:
        """Take the connections to the controller, of which there should be room for `FETCHES_MAX`."""
        self._server = server
        self._threads = ThreadPoolExecutor(FETCHES_MAX, thread_name_prefix="fetch")

    def close(self) -> None:
        """Begin no more downloads, and drop what is kept."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._server.close()

    async def fetch(self, papers: Papers, releases: tuple[ReleaseInfo, ...]) -> Fault | None:
        """Fetch the artifacts of *releases* as the device with these *papers*; return what went wrong, if anything."""
        for release in releases:
            fault = await self._fetch_one(papers, release)
            if fault is not None:
                return fault
        return None

    async def _fetch_one(self, papers: Papers, release: ReleaseInfo) -> Fault | None:
        path = f"/v1/artifacts/{release.sha256}"
        for _ in range(TRIES_MAX):
            headers = {**signed_header(papers, "GET", path), "Accept-Encoding": "identity"}
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._try, path, headers, release)
            except _Busy as busy:
                await asyncio.sleep(min(busy.wait_seconds, WAIT_MAX_SECONDS))
        return Fault(reason=Reason.DOWNLOAD_FAILED, detail=f"{path}: the controller stays busy")

    def _try(self, path: str, headers: dict[str, str], release: ReleaseInfo) -> Fault | None:
        try:
            answer = self._server.request(
                "GET", path, headers=headers, preload_content=False, retries=_AGAIN, timeout=REQUEST_SECONDS
            )
            with contextlib.closing(answer):
                if answer.status in _BUSY:
                    raise _Busy(float(answer.headers.get("Retry-After", "1")))
                fault = _judge(answer, release)
                answer.release_conn()
                return fault
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            return Fault(reason=Reason.DOWNLOAD_FAILED, detail=f"{path}: {type(error).__name__} {error}")


def _judge(answer: urllib3.BaseHTTPResponse, release: ReleaseInfo) -> Fault | None:
    """Read the whole answer and compare it with what was signed."""
    if answer.status != HTTPStatus.OK:
        return Fault(reason=Reason.DOWNLOAD_FAILED, detail=f"the controller answers {answer.status}")
    hasher, length = hashlib.sha256(), 0
    for chunk in answer.stream(_CHUNK_BYTES):
        hasher.update(chunk)
        length += len(chunk)
        if length > release.length:
            break
    if (length, hasher.hexdigest()) != (release.length, release.sha256):
        return Fault(reason=Reason.HASH_MISMATCH, detail=f"{length} bytes, expected {release.length}")
    return None
