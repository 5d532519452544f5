"""Download artifacts: resumable, hashed on the way, bounded in length, rate and space, cached by digest.

```
<cache>/<sha256>         whole and verified; its time of change is that of its last use
<cache>/<sha256>.part    what has come so far; hashed again before it is continued
<cache>/<sha256>.etag    of the source that the part came from
```

The rules this module keeps:

1. A file under its digest's name is whole: it got there by rename, after its hash was checked and it was
   synced.
2. No more than the signed length is ever written (`endless`), and no less than a minimum rate is waited for.
3. 503 and 429 mean waiting, for as long as the step's limit allows; they count as no failure.
4. Lack of space is found before the first byte.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

import msgspec
import urllib3

from agent.clock import boottime_ms, new_nonce, system_ms
from agent.core.backoff import spread
from agent.errors import Aborted, StepFailed, Unreachable
from agent.files import FOLDER_MODE, disk_free_bytes, hash_of, sync_folder, write_whole
from agent.https import Https
from agent.retry import retrying
from protocol.ids import Digest
from protocol.reasons import Reason
from protocol.units import DAY, SECOND

CHUNK_BYTES: Final = 65_536
RATE_GRACE_MS: Final = 20 * SECOND
"""How long a download may be slow before its average rate counts."""
WAIT_MIN_MS: Final = 1 * SECOND
WAIT_MAX_MS: Final = 300 * SECOND
WAIT_DEFAULT_MS: Final = 15 * SECOND
HASH_TRIES_MAX: Final = 2
PART_AGE_MAX_MS: Final = 1 * DAY
_BUSY: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a download may take, and must give: bytes, and bytes per second."""

    cache_bytes_max: int
    reserve_bytes: int
    rate_bytes_min: int


class Task(Protocol):
    """The step that a download is part of."""

    @property
    def called_off(self) -> threading.Event:
        """Set when the step is to end."""

    def progressed(self, done: int, total: int) -> None:
        """Say how far it is."""


class _Busy(Exception):
    def __init__(self, wait_ms: int) -> None:
        super().__init__()
        self.wait_ms = wait_ms


class _WrongBytes(Exception):
    pass


class Fetcher:
    """Downloads by digest, into a cache."""

    def __init__(self, https: Https, cache: Path, limits: Limits, *, now: Callable[[], int] = boottime_ms) -> None:
        """Take the controller, the folder of the cache, the limits, and a clock in milliseconds."""
        self._https = https
        self._cache = cache
        self._limits = limits
        self._now = now
        cache.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)

    def fetch(self, sha256: Digest, length: int, task: Task, *, keep: frozenset[str] = frozenset()) -> Path:
        """Return the path of the artifact, downloading what is missing of it; *keep* stays in the cache.

        Raises:
            StepFailed: when it cannot be had: `download_failed`, `hash_mismatch`, `disk_full` or
                `storage_error`.
            Aborted: when the step is called off.
        """
        try:
            return self._fetch(sha256, length, task, keep | {sha256})
        except OSError as error:
            raise StepFailed(Reason.STORAGE_ERROR, f"cache {self._cache}: {error}") from error
        except Unreachable as error:
            raise StepFailed(Reason.DOWNLOAD_FAILED, str(error)) from error
        except _WrongBytes as error:
            raise StepFailed(Reason.HASH_MISMATCH, str(error)) from error

    def path_of(self, sha256: Digest) -> Path:
        """Return where the artifact is, or will be."""
        return self._cache / sha256

    def _fetch(self, sha256: Digest, length: int, task: Task, keep: frozenset[str]) -> Path:
        whole = self._cache / sha256
        if self._is_whole(whole, sha256, length):
            whole.touch()
            task.progressed(length, length)
            return whole
        self._make_room(sha256, length, keep)
        _Download(self._https, whole, length, task, limits=self._limits, now=self._now).run()
        return whole

    def _is_whole(self, path: Path, sha256: Digest, length: int) -> bool:
        """Say whether the cache has it; what has rotted there is removed."""
        if not path.exists():
            return False
        if path.stat().st_size == length and hash_of(path) == sha256:
            return True
        path.unlink()
        return False

    def _make_room(self, sha256: Digest, length: int, keep: frozenset[str]) -> None:
        """Drop what was used longest ago until cache limit and disk have room for the rest of *length*."""
        part = self._cache / f"{sha256}.part"
        missing = length - (part.stat().st_size if part.exists() else 0)
        entries = sorted(self._entries(keep), key=lambda path: path.stat().st_mtime)
        size = sum(path.stat().st_size for path in entries)
        while entries and (size + length > self._limits.cache_bytes_max or not self._has_space(missing)):
            oldest = entries.pop(0)
            size -= oldest.stat().st_size
            oldest.unlink()
        if not self._has_space(missing):
            free = disk_free_bytes(self._cache)
            detail = f"{missing} bytes are missing, {free} are free, {self._limits.reserve_bytes} stay reserved"
            raise StepFailed(Reason.DISK_FULL, detail)

    def _has_space(self, missing: int) -> bool:
        return disk_free_bytes(self._cache) >= missing + self._limits.reserve_bytes

    def _entries(self, keep: frozenset[str]) -> Iterator[Path]:
        for path in self._cache.iterdir():
            if path.is_file() and not path.name.startswith((*keep, ".")):
                yield path

    def clean(self) -> None:
        """Remove what no download is likely to continue, and what the cache's limit does not allow.

        A part outlives its attempt for a while: the next attempt goes on from there.
        """
        for path in self._cache.iterdir():
            is_old = system_ms() - path.stat().st_mtime * SECOND > PART_AGE_MAX_MS
            if path.suffix == ".new" or (is_old and path.suffix in {".part", ".etag"}):
                path.unlink(missing_ok=True)
        with contextlib.suppress(StepFailed):
            self._make_room(Digest(""), 0, frozenset())


class _Download:
    """One artifact on its way."""

    def __init__(
        self,
        https: Https,
        whole: Path,
        length: int,
        task: Task,
        *,
        limits: Limits,
        now: Callable[[], int],
    ) -> None:
        self._https = https
        self._whole = whole
        self._part = whole.with_name(f"{whole.name}.part")
        self._etag = whole.with_name(f"{whole.name}.etag")
        self._length = length
        self._task = task
        self._limits = limits
        self._now = now

    def run(self) -> None:
        """Try until it is whole, or the tries are used up."""
        sleep = self._task.called_off.wait
        anew = retrying(sleep=sleep, errors=(_WrongBytes,), tries_max=HASH_TRIES_MAX)
        anew(lambda: retrying(sleep=sleep)(self._try_patiently))

    def _try_patiently(self) -> None:
        """Try once; a controller that asks for patience gets it."""
        while True:
            try:
                self._try()
                return
            except _Busy as busy:
                wait_ms = busy.wait_ms + spread(busy.wait_ms // 4, seed=new_nonce())
                self._task.called_off.wait(wait_ms / SECOND)

    def _try(self) -> None:
        self._check_wanted()
        have, hasher = self._resume()
        if have < self._length:
            with self._https.stream("GET", self._path(), headers=self._headers(have)) as response:
                have = self._accept(response, have)
                hasher = hasher if have else hashlib.sha256()
                self._write(response, have, hasher)
        self._finish(hasher.hexdigest())

    def _path(self) -> str:
        return f"/v1/artifacts/{self._whole.name}"

    def _resume(self) -> "tuple[int, hashlib._Hash]":
        """Hash what has come so far; more than the length is none of it."""
        hasher = hashlib.sha256()
        if not self._part.exists():
            return 0, hasher
        if self._part.stat().st_size > self._length:
            self._discard()
            return 0, hasher
        with self._part.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self._check_wanted()
                hasher.update(chunk)
        return self._part.stat().st_size, hasher

    def _headers(self, have: int) -> dict[str, str]:
        if not have:
            return {}
        etag = self._etag.read_text() if self._etag.exists() else f'"{self._whole.name}"'
        return {"Range": f"bytes={have}-", "If-Range": etag}

    def _accept(self, response: urllib3.BaseHTTPResponse, have: int) -> int:
        """Return from which byte on the answer goes.

        Raises:
            Unreachable: when there are no bytes in it.
            _Busy: when the controller asks for patience.
        """
        status = response.status
        if status in _BUSY:
            raise _Busy(_retry_after_ms(response.headers.get("Retry-After", "")))
        if status == HTTPStatus.PARTIAL_CONTENT and _first_byte(response) == have:
            return have
        if status == HTTPStatus.OK:
            self._keep_etag(response)
            return 0
        if status in {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
            self._discard()
        raise Unreachable(f"{self._path()}: the controller answers {status}")

    def _keep_etag(self, response: urllib3.BaseHTTPResponse) -> None:
        etag = response.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):
            write_whole(self._etag, etag.encode())

    def _write(self, response: urllib3.BaseHTTPResponse, have: int, hasher: "hashlib._Hash") -> None:
        begun_at, first = self._now(), have
        with self._part.open("r+b" if have else "wb") as file:
            file.seek(have)
            for chunk in self._chunks(response):
                self._check_wanted()
                if have + len(chunk) > self._length:
                    self._discard()
                    raise _WrongBytes(f"endless: more than the {self._length} bytes that were signed")
                file.write(chunk)
                hasher.update(chunk)
                have += len(chunk)
                self._task.progressed(have, self._length)
                self._check_rate(have - first, begun_at)
            file.flush()
            os.fsync(file.fileno())
        if have < self._length:
            raise Unreachable(f"{self._path()}: the answer ended at {have} of {self._length} bytes")

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """Read what is there, so that a slow source cannot hide behind a full buffer."""
        try:
            while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                yield chunk
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self._path()}: {error}") from error

    def _check_rate(self, done: int, begun_at: int) -> None:
        elapsed_ms = self._now() - begun_at
        if elapsed_ms > RATE_GRACE_MS and done * SECOND < self._limits.rate_bytes_min * elapsed_ms:
            raise Unreachable(f"{self._path()}: slower than {self._limits.rate_bytes_min} bytes per second")

    def _check_wanted(self) -> None:
        if self._task.called_off.is_set():
            raise Aborted("the download was called off")

    def _finish(self, found: str) -> None:
        if found != self._whole.name:
            self._discard()
            raise _WrongBytes(f"expected {self._whole.name}, found {found}")
        self._part.replace(self._whole)
        self._etag.unlink(missing_ok=True)
        sync_folder(self._whole.parent)

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._etag.unlink(missing_ok=True)


def _first_byte(response: urllib3.BaseHTTPResponse) -> int:
    """Return the first byte of a partial answer (RFC 9110, section 14.4), -1 where it is not said."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else -1


def _retry_after_ms(text: str) -> int:
    """Read Retry-After in seconds (RFC 9110, section 10.2.3); a date counts as the default."""
    wait_ms = int(text) * SECOND if text.isdecimal() else WAIT_DEFAULT_MS
    return min(max(wait_ms, WAIT_MIN_MS), WAIT_MAX_MS)
