"""``app.json``: what an archive says about itself.

```json
{
  "name": "shop",
  "version": "2.0",
  "start": ["python3", "service.py"],
  "stop_ms": 10000,
  "probe": {
    "http": "http://127.0.0.1:{port}/healthz",
    "command": ["python3", "check.py"],
    "timeout_ms": 30000,
    "interval_ms": 500,
    "healthy_after": 1
  }
}
```

- `name` and `version` must be those of the signed release.
- `start` runs the service, in the release's folder, with the command's environment and `PORT`, `APP_NAME`,
  `APP_VERSION`, `APP_DATA` (a folder that outlives releases). A bare name is looked up on the PATH; one with
  a slash is a path in the folder. Without `start` there is no service.
- `stop_ms`: how long the service has to end after SIGTERM.
- `probe`: when the release is healthy. `http` must answer 2xx (loopback only; where the answer is a JSON
  object with a `version`, that must be the release's), `command` must end with 0; both, where both are given.
  Without a probe a service counts as healthy when it stays alive. `healthy_after` good looks in a row,
  `interval_ms` apart, must come within `timeout_ms`; a service that ends meanwhile has failed at once.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from agent.errors import StepFailed
from protocol.reasons import Reason

NAME: Final = "app.json"
BYTES_MAX: Final = 65_536

Argument = Annotated[str, Meta(min_length=1, max_length=4_096)]
Arguments = Annotated[tuple[Argument, ...], Meta(max_length=64)]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """When a release is healthy."""

    http: Annotated[str, Meta(pattern=r"^(http://(127\.0\.0\.1|localhost|\[::1\])[:/].*)?$")] = ""
    command: Arguments = ()
    timeout_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 30_000
    interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 500
    healthy_after: Annotated[int, Meta(ge=1, le=100)] = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says about itself. Unknown fields are ignored."""

    name: str
    version: str
    start: Arguments = ()
    stop_ms: Annotated[int, Meta(ge=0, le=600_000)] = 10_000
    probe: Probe = Probe()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an unpacked release.

    Raises:
        StepFailed: when it is missing or wrong.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise StepFailed(Reason.INSTALL_FAILED, f"{NAME} cannot be read: {error.strerror}") from error
    if len(raw) > BYTES_MAX:
        raise StepFailed(Reason.INSTALL_FAILED, f"{NAME} is longer than {BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise StepFailed(Reason.INSTALL_FAILED, f"{NAME}: {error}") from error
