"""Downloads against a server with faults: whole or not at all, resumed, bounded, and patient."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import fetch, retry
from agent.errors import Aborted, StepFailed
from agent.fetch import Fetcher, Limits
from agent.https import Https
from protocol.ids import digest_of
from tests.agent.web import Web

ROOT = Path(__file__).parents[2]
DATA = bytes(itertools.islice(itertools.cycle(b"all the bytes of an artifact; "), 300_000))
LIMITS = Limits(cache_bytes_max=1_000_000, reserve_bytes=0, rate_bytes_min=1)


class Task:
    def __init__(self) -> None:
        self.called_off = threading.Event()
        self.progress: list[int] = []

    def progressed(self, done: int, total: int) -> None:
        assert total == len(DATA)
        self.progress.append(done)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait milliseconds where a device waits seconds."""
    monkeypatch.setattr(retry, "_MS_PER_SECOND", 1_000_000)
    monkeypatch.setattr(fetch, "WAIT_MIN_MS", 1)
    monkeypatch.setattr(fetch, "WAIT_MAX_MS", 10)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    web = Web(tmp_path, DATA)
    yield web
    web.close()


def fetcher(web: Web, folder: Path, limits: Limits = LIMITS) -> Fetcher:
    return Fetcher(Https(web.url, web.ca), folder / "cache", limits)


def get(web: Web, folder: Path, task: Task | None = None) -> Path:
    return fetcher(web, folder).fetch(web.digest, len(DATA), task or Task())


def names(folder: Path) -> list[str]:
    return sorted(path.name[64:] for path in (folder / "cache").iterdir())


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["cut"],
        ["cut", "cut", "cut"],
        ["503", "429", "503"] * 5,
        ["500", "502"],
        ["404"],
        ["cut", "416"],
        ["cut", "wrong range"],
        ["cut", "ignore range"],
        ["wrong bytes"],
        ["endless"],
    ],
    ids=lambda faults: ", ".join(faults[:3]) or "none",
)
def test_a_fault_that_passes_ends_in_the_whole_artifact(web: Web, tmp_path: Path, faults: list[str]) -> None:
    web.faults = list(faults)
    task = Task()
    path = get(web, tmp_path, task)
    assert path.read_bytes() == DATA
    assert names(tmp_path) == [""]
    assert task.progress[-1] == len(DATA)
    assert len(web.ranges) == len(faults) + 1 - faults.count("ignore range")


@pytest.mark.parametrize(
    ("faults", "reason", "detail"),
    [
        (["wrong bytes"] * 9, "hash_mismatch", "expected"),
        (["endless"] * 9, "hash_mismatch", "endless"),
        (["404"] * 9, "download_failed", "404"),
        (["500"] * 9, "download_failed", "500"),
    ],
)
def test_a_fault_that_stays_has_its_reason(
    web: Web, tmp_path: Path, faults: list[str], reason: str, detail: str
) -> None:
    web.faults = list(faults)
    with pytest.raises(StepFailed, match=detail) as failed:
        get(web, tmp_path)
    assert failed.value.reason == reason
    assert "" not in names(tmp_path), "nothing that is not whole has the name of a whole one"


def test_a_download_is_resumed_where_it_was_cut(web: Web, tmp_path: Path) -> None:
    web.faults = ["cut"]
    get(web, tmp_path)
    assert web.ranges == [None, f"bytes={len(DATA) // 2}-"]


def test_what_has_come_under_another_etag_is_not_continued(web: Web, tmp_path: Path) -> None:
    web.faults = ["cut"] + ["500"] * 20
    with pytest.raises(StepFailed):
        get(web, tmp_path)
    web.faults, web.etag = [], '"another"'
    assert get(web, tmp_path).read_bytes() == DATA


def test_a_part_that_is_damaged_or_too_long_is_fetched_anew(web: Web, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for damaged in (b"damaged", DATA + b"more", bytes(len(DATA))):
        (cache / f"{web.digest}.part").write_bytes(damaged)
        assert get(web, tmp_path).read_bytes() == DATA
        (cache / web.digest).unlink()


def test_a_cached_artifact_is_used_and_a_rotten_one_is_not(web: Web, tmp_path: Path) -> None:
    path = get(web, tmp_path)
    get(web, tmp_path)
    assert len(web.ranges) == 1
    path.write_bytes(bytes(len(DATA)))
    assert get(web, tmp_path).read_bytes() == DATA
    assert len(web.ranges) == 2


def test_a_slow_source_is_left(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RATE_GRACE_MS", 100)
    limits = Limits(cache_bytes_max=1_000_000, reserve_bytes=0, rate_bytes_min=10_000_000)
    web.faults = ["slow"]
    path = fetcher(web, tmp_path, limits).fetch(web.digest, len(DATA), Task())
    assert path.read_bytes() == DATA
    assert web.ranges[1] is not None, "the next try goes on from there"


def test_a_download_ends_when_it_is_called_off(web: Web, tmp_path: Path) -> None:
    web.faults = ["slow"]
    task = Task()
    threading.Timer(0.2, task.called_off.set).start()
    begun = time.monotonic()
    with pytest.raises(Aborted):
        get(web, tmp_path, task)
    assert time.monotonic() - begun < 2
    web.faults = ["503"] * 1_000
    with pytest.raises(Aborted):
        get(web, tmp_path, task)


def test_lack_of_space_is_found_before_the_first_byte(web: Web, tmp_path: Path) -> None:
    limits = Limits(cache_bytes_max=1_000_000, reserve_bytes=2**60, rate_bytes_min=1)
    with pytest.raises(StepFailed, match="stay reserved") as failed:
        fetcher(web, tmp_path, limits).fetch(web.digest, len(DATA), Task())
    assert failed.value.reason == "disk_full"
    assert web.ranges == []


def test_the_cache_drops_what_was_used_longest_ago(web: Web, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for age, name in enumerate(("old", "older", "oldest")):
        (cache / digest_of(name.encode())).write_bytes(bytes(300_000))
        os.utime(cache / digest_of(name.encode()), (10_000 - age, 10_000 - age))
    get(web, tmp_path)
    kept = {path.name for path in cache.iterdir()}
    assert kept == {web.digest, digest_of(b"old"), digest_of(b"older")}


def test_cleaning_keeps_what_the_next_attempt_can_go_on_from(web: Web, tmp_path: Path) -> None:
    get(web, tmp_path)
    cache = tmp_path / "cache"
    for name in ("a.part", "a.etag", "b.part", "b.etag", ".c.new"):
        (cache / name).touch()
    for name in ("a.part", "a.etag"):
        os.utime(cache / name, (1_000, 1_000))
    fetcher(web, tmp_path).clean()
    assert {path.name for path in cache.iterdir()} == {web.digest, "b.part", "b.etag"}


def test_a_server_of_another_ca_is_not_believed(web: Web, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    stranger = Web(other, DATA)
    with pytest.raises(StepFailed, match="is not signed by"):
        Fetcher(Https(web.url, stranger.ca), tmp_path / "cache", LIMITS).fetch(web.digest, len(DATA), Task())
    stranger.close()


DOWNLOADER = """
import sys, threading
from pathlib import Path
from agent.fetch import Fetcher, Limits
from agent.https import Https
class Task:
    called_off = threading.Event()
    def progressed(self, done, total):
        print(done, flush=True)
url, ca, cache, digest, length = sys.argv[1:]
limits = Limits(cache_bytes_max=10**9, reserve_bytes=0, rate_bytes_min=1)
Fetcher(Https(url, Path(ca)), Path(cache), limits).fetch(digest, int(length), Task())
"""


def test_a_kill_in_the_middle_costs_nothing_but_time(web: Web, tmp_path: Path) -> None:
    web.faults = ["slow"]
    arguments = [web.url, str(web.ca), str(tmp_path / "cache"), web.digest, str(len(DATA))]
    with subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER, *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [".etag", ".part"]
    assert get(web, tmp_path).read_bytes() == DATA
    assert web.ranges[1] is not None
