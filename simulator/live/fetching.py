"""Really fetch artifacts: every byte over HTTPS, hashed, and thrown away."""

import asyncio
import hashlib
from http import HTTPStatus
from typing import Final

import httpx

from agent.core.model import Fault
from protocol.reasons import Reason
from protocol.trust import ReleaseInfo
from simulator.live.enrolment import Papers
from simulator.live.trust import signed_header

WAIT_MAX_SECONDS: Final = 30.0
TRIES_MAX: Final = 20
_BUSY: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})


async def fetch(client: httpx.AsyncClient, papers: Papers, releases: tuple[ReleaseInfo, ...]) -> Fault | None:
    """Fetch the artifacts of *releases* as the device with these *papers*; return what went wrong, if anything."""
    for release in releases:
        fault = await _fetch_one(client, papers, release)
        if fault is not None:
            return fault
    return None


async def _fetch_one(client: httpx.AsyncClient, papers: Papers, release: ReleaseInfo) -> Fault | None:
    path = f"/v1/artifacts/{release.sha256}"
    for _ in range(TRIES_MAX):
        headers = {**signed_header(papers, "GET", path), "Accept-Encoding": "identity"}
        try:
            async with client.stream("GET", path, headers=headers) as answer:
                if answer.status_code not in _BUSY:
                    return await _judge(answer, release)
                wait = float(answer.headers.get("Retry-After", "1"))
        except (httpx.HTTPError, ValueError) as error:
            return Fault(reason=Reason.DOWNLOAD_FAILED, detail=f"{path}: {type(error).__name__} {error}")
        await asyncio.sleep(min(wait, WAIT_MAX_SECONDS))
    return Fault(reason=Reason.DOWNLOAD_FAILED, detail=f"{path}: the controller stays busy")


async def _judge(answer: httpx.Response, release: ReleaseInfo) -> Fault | None:
    """Read the whole answer and compare it with what was signed."""
    if answer.status_code != HTTPStatus.OK:
        return Fault(reason=Reason.DOWNLOAD_FAILED, detail=f"the controller answers {answer.status_code}")
    hasher, length = hashlib.sha256(), 0
    async for chunk in answer.aiter_bytes():
        hasher.update(chunk)
        length += len(chunk)
        if length > release.length:
            break
    if (length, hasher.hexdigest()) != (release.length, release.sha256):
        return Fault(reason=Reason.HASH_MISMATCH, detail=f"{length} bytes, expected {release.length}")
    return None
