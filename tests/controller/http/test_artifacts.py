"""Downloads: whole, in parts, resumed, not at all; and only so many at once."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from controller.http.downloads import Content, begin
from tests.controller.http.fake import BYTES, DIGEST

PATH = f"/v1/artifacts/{DIGEST}"
ETAG = f'"{DIGEST}"'
SIZE = len(BYTES)


async def test_the_whole_artifact(client: httpx.AsyncClient) -> None:
    response = await client.get(PATH)
    assert (response.status_code, response.content) == (200, BYTES)
    assert response.headers["etag"] == ETAG
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["content-type"] == "application/octet-stream"
    assert "immutable" in response.headers["cache-control"]


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=5000-", 5_000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        ("bytes=-99999999", 0, SIZE),
        (f"bytes={SIZE - 1}-{SIZE + 50}", SIZE - 1, SIZE),
        ("Bytes=1-2", 1, 3),
    ],
)
async def test_a_part(header: str, start: int, stop: int, client: httpx.AsyncClient) -> None:
    response = await client.get(PATH, headers={"Range": header})
    assert (response.status_code, response.content) == (206, BYTES[start:stop])
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert response.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=0-1", "bytes=", "bytes=-", "bytes=9-3", "bytes=a-b"])
async def test_ranges_that_are_ignored(header: str, client: httpx.AsyncClient) -> None:
    response = await client.get(PATH, headers={"Range": header})
    assert (response.status_code, response.content) == (200, BYTES)


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=-0", f"bytes={SIZE + 5}-{SIZE + 9}"])
async def test_ranges_outside(header: str, client: httpx.AsyncClient) -> None:
    response = await client.get(PATH, headers={"Range": header})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{SIZE}"
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("if_range", "status"), [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200)])
async def test_a_range_holds_only_for_the_same_bytes(if_range: str, status: int, client: httpx.AsyncClient) -> None:
    response = await client.get(PATH, headers={"Range": "bytes=0-9", "If-Range": if_range})
    assert response.status_code == status


@pytest.mark.parametrize("header", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
async def test_known_bytes_are_not_sent_again(header: str, client: httpx.AsyncClient) -> None:
    for path in (PATH, "/v1/releases/targets.json"):
        etag = (await client.get(path)).headers["etag"]
        response = await client.get(path, headers={"If-None-Match": header.replace(ETAG, etag)})
        assert (response.status_code, response.content) == (304, b"")


async def test_head_says_the_length(client: httpx.AsyncClient) -> None:
    response = await client.head(PATH)
    assert (response.status_code, response.content) == (200, b"")
    assert (response.headers["content-length"], response.headers["etag"]) == (str(SIZE), ETAG)
    assert (await client.head(f"/v1/artifacts/{'0' * 64}")).status_code == 404


async def test_beyond_the_limit_downloads_are_put_off(api: FastAPI, client: httpx.AsyncClient) -> None:
    slots = api.state.downloads
    slots.take()
    slots.take()
    response = await client.get(PATH)
    assert response.status_code == 503
    assert response.json()["type"] == "urn:tidegate:problem:overloaded"
    assert int(response.headers["retry-after"]) > 0
    assert (await client.head(PATH)).status_code == 200
    slots.give_back()
    assert (await client.get(PATH)).status_code == 200
    assert slots.in_flight == 1


def test_one_chunk_is_read_to_its_end_and_of_several_only_the_first() -> None:
    read: list[str] = []

    def chunks(*parts: bytes) -> Iterator[bytes]:
        yield from parts
        read.append("closed")

    assert begin(chunks(b"ab"), 2) == Content(b"ab", None)
    assert begin(chunks(), 0) == Content(b"", None)
    assert read == ["closed", "closed"]
    several = begin(chunks(b"ab", b"cd"), 4)
    assert (several.first, read) == (b"ab", ["closed", "closed"])
    assert several.rest is not None
    assert list(several.rest) == [b"cd"]


async def test_one_chunk_gives_its_slot_back_too(api: FastAPI, client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH, headers={"Range": "bytes=0-9"})).content == BYTES[:10]
    assert api.state.downloads.in_flight == 0


async def test_a_caller_that_leaves_gives_its_slot_back(api: FastAPI) -> None:
    started = asyncio.Event()

    async def receive() -> dict[str, object]:
        await started.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        started.set()
        await asyncio.sleep(0)

    headers = [(b"authorization", b"Bearer viewer")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
    }
    await api(
        {
            **scope,
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
        },
        receive,
        send,
    )
    assert api.state.downloads.in_flight == 0
