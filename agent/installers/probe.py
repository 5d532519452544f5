"""Look at a release until it is healthy, or its time is over."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Final

import msgspec
import urllib3

from agent.clock import boottime_ms
from agent.errors import Aborted, StepFailed
from agent.installers.manifest import Manifest
from protocol.reasons import Reason
from protocol.units import SECOND

LOOK_SECONDS: Final = 5.0
ALIVE_LOOKS: Final = 4
"""How often a service without a probe must be seen alive."""
_BODY_BYTES_MAX: Final = 65_536


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at; `ended` says how the service ended, or None while it runs."""

    folder: Path
    env: Mapping[str, str]
    port: int
    ended: Callable[[], str | None]


class _Unwell(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def probe(target: Target, manifest: Manifest, *, called_off: Event) -> None:
    """Look until `healthy_after` looks in a row were good.

    Raises:
        StepFailed: `verify_failed` or `version_mismatch`, when time is over or the service has ended.
        Aborted: when the step is called off.
    """
    rules = manifest.probe
    if not (rules.http or rules.command or manifest.start):
        return
    wanted = rules.healthy_after if rules.http or rules.command else max(rules.healthy_after, ALIVE_LOOKS)
    deadline_at = boottime_ms() + rules.timeout_ms
    good_count = 0
    while good_count < wanted:
        last = _look(target, manifest)
        good_count = 0 if last else good_count + 1
        if last and boottime_ms() >= deadline_at:
            raise StepFailed(last.reason, f"not healthy within {rules.timeout_ms} ms: {last}")
        if good_count < wanted and called_off.wait(rules.interval_ms / SECOND):
            raise Aborted("the probe was called off")


def complaint(target: Target, manifest: Manifest) -> str | None:
    """Look once at a release that was healthy; return what is wrong with it, None where nothing is, or it has ended."""
    if target.ended() is not None:
        return None
    try:
        unwell = _look(target, manifest)
    except StepFailed:
        return None  # it has ended meanwhile
    return None if unwell is None else str(unwell)


def _look(target: Target, manifest: Manifest) -> _Unwell | None:
    """Look once; a service that has ended is looked at no more."""
    ended = target.ended()
    if ended is not None:
        raise StepFailed(Reason.VERIFY_FAILED, ended)
    try:
        if manifest.probe.http:
            _ask(target, manifest)
        if manifest.probe.command:
            _run(target, manifest)
    except _Unwell as unwell:
        return unwell
    return None


def _ask(target: Target, manifest: Manifest) -> None:
    url = manifest.probe.http.replace("{port}", str(target.port))
    try:
        with urllib3.PoolManager(retries=False, timeout=LOOK_SECONDS) as pool:
            response = pool.request("GET", url, preload_content=False, redirect=False)
            body = response.read(_BODY_BYTES_MAX)
    except urllib3.exceptions.HTTPError as error:
        raise _Unwell(Reason.VERIFY_FAILED, f"{url}: {error}") from error
    if not 200 <= response.status < 300:  # noqa: PLR2004 - the class of good answers (RFC 9110, section 15)
        raise _Unwell(Reason.VERIFY_FAILED, f"{url} answers {response.status}")
    version = _version(body)
    if version not in {None, manifest.version}:
        raise _Unwell(Reason.VERSION_MISMATCH, f"{url} says version {version}, expected {manifest.version}")


def _version(body: bytes) -> str | None:
    """Return the version that an answer tells, if it tells one."""
    try:
        told = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    version = told.get("version")
    return version[:128] if isinstance(version, str) else None


def _run(target: Target, manifest: Manifest) -> None:
    try:
        done = subprocess.run(
            manifest.probe.command,
            cwd=target.folder,
            env=dict(target.env),
            capture_output=True,
            timeout=LOOK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unwell(Reason.VERIFY_FAILED, f"probe command: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-300:].decode(errors="replace").strip()
        raise _Unwell(Reason.VERIFY_FAILED, f"probe command ended with {done.returncode}: {said}")
