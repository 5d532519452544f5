"""``app.json``: what an archive says about itself.

```json
{
  "name": "shop",
  "version": "2.0",
  "start": ["python3", "service.py"],
  "env": ["COLOUR"],
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
  `APP_VERSION`, `APP_DATA` (a folder that outlives releases), `TIDEGATE_OUTPUTS` (a folder in which it may leave
  ``outputs.json``, see `agent.installers.outputs`). A bare name is looked up on the PATH; one with
  a slash is a path in the folder. Without `start` there is no service.
- `env`: the names of variables that a command may set. Without it, any name of capitals, digits and underscores but
  for those by which other programs take orders (`FOREIGN`): a stolen director key must not run code of its own.
- `stop_ms`: how long the service has to end after SIGTERM.
- `probe`: when the release is healthy. `http` must answer 2xx (loopback only; where the answer is a JSON
  object with a `version`, that must be the release's), `command` must end with 0; both, where both are given.
  Without a probe a service counts as healthy when it stays alive. `healthy_after` good looks in a row,
  `interval_ms` apart, must come within `timeout_ms`; a service that ends meanwhile has failed at once.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from agent.errors import StepFailed
from protocol.reasons import Reason

NAME: Final = "app.json"
BYTES_MAX: Final = 65_536
FOREIGN: Final = re.compile(
    r"(LD|DYLD|BASH|NODE|GIT|SSL|OPENSSL|JAVA|JDK|DOTNET|CORECLR|COR|LUA|PHP|APP|TIDEGATE)_.*|(PYTHON|PERL|RUBY).*"
    r"|_JAVA_OPTIONS|PATH|HOME|SHELL|ENV|IFS|BROWSER|EDITOR|PAGER|TMPDIR|PORT|PROMPT_COMMAND|ZDOTDIR"
    r"|GCONV_PATH|GLIBC_TUNABLES|LOCPATH|NLSPATH"
)
"""Variables that order other programs about, or are the agent's own to set."""

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,127}")

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
    env: Arguments | None = None
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


def check_env(manifest: Manifest, names: Iterable[str]) -> None:
    """Check that a command may set these variables.

    Raises:
        StepFailed: when it may not.
    """
    for name in names:
        is_declared = manifest.env is not None and name in manifest.env
        is_harmless = manifest.env is None and _NAME.fullmatch(name) and not FOREIGN.fullmatch(name)
        if not (is_declared or is_harmless):
            detail = f"a command may not set the variable {name[:80]!r}; app.json lists in 'env' what it may"
            raise StepFailed(Reason.INSTALL_FAILED, detail)
