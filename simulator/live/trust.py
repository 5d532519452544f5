"""What all devices of a process judge by: fleet root and release file, verified once, as the bytes are the same.

The rule this module keeps: whoever asks for a refresh gets what a fetch brought that began after the question. A
device that saw an unknown release must not be answered by a file that was on its way before.
"""

import asyncio
import base64
from typing import Final

import httpx

from agent.clock import new_nonce, system_ms
from agent.core.model import Trust
from agent.trust import RELEASES_PATH
from protocol.codec import encode
from protocol.envelope import seal
from protocol.errors import ProtocolError
from protocol.ids import digest_of
from protocol.messages import DeviceRequest, PayloadType
from protocol.trust import parse_root, read_fleet_root, read_releases
from protocol.units import Instant
from simulator.live.enrolment import Addresses, Papers

OK: Final = 200


def signed_header(papers: Papers, method: str, path: str) -> dict[str, str]:
    """Return the header by which the controller knows a device's request."""
    request = DeviceRequest(
        device=papers.name,
        method=method,
        path=path,
        at=Instant(system_ms()),
        nonce=new_nonce(),
        body_sha256=digest_of(b""),
    )
    raw = seal(encode(request), PayloadType.REQUEST, papers.signer)
    return {"Authorization": "Tidegate-DSSE " + base64.b64encode(raw).decode()}


class SharedTrust:
    """The trust at hand, and the one way to renew it."""

    def __init__(self, addresses: Addresses, *, fleet_root: bytes, release_root: bytes) -> None:
        """Take the controller, and the roots that the enrolment gave.

        Raises:
            ProtocolError: when a root cannot be used.
        """
        self._release_root = release_root
        self._client = addresses.client()
        self._lock = asyncio.Lock()
        self._begun = 0
        self.current = Trust(
            fleet=read_fleet_root(fleet_root), release_root_version=parse_root(release_root).signed.version
        )
        self.fetch_count = 0
        self.fault = ""

    async def refresh(self, papers: Papers) -> Trust:
        """Return the trust after a fetch that began after this call; what it was before, where the fetch fails."""
        wanted = self._begun + 1
        async with self._lock:
            if self._begun < wanted:
                self._begun += 1
                await self._fetch(papers)
        return self.current

    async def _fetch(self, papers: Papers) -> None:
        self.fetch_count += 1
        try:
            answer = await self._ask(papers)
            if answer.status_code != OK:
                self.fault = f"release file: the controller answers {answer.status_code}"
                return
            releases = read_releases(answer.content, self._release_root, at=Instant(system_ms()))
        except (httpx.HTTPError, ProtocolError) as error:
            self.fault = f"release file: {error}"
            return
        known = self.current.releases
        if known is None or releases.version >= known.version:
            self.current = Trust(
                fleet=self.current.fleet,
                release_root_version=self.current.release_root_version,
                releases=releases,
            )

    async def _ask(self, papers: Papers) -> httpx.Response:
        """Ask once more where a kept connection ended just as it was taken: the controller closes those that idle."""
        try:
            return await self._client.get(RELEASES_PATH, headers=signed_header(papers, "GET", RELEASES_PATH))
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._client.get(RELEASES_PATH, headers=signed_header(papers, "GET", RELEASES_PATH))

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._client.aclose()
