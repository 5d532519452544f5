"""The agent's settings: a TOML file, then `TIDEGATE_AGENT_*` variables, then flags; later ones win.

```toml
state_dir = "/var/lib/tidegate-agent"
apps_dir = "/var/lib/tidegate-agent/apps"
log_level = "info"
[ports]
shop = 8080
```
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from agent.errors import ConfigError

PREFIX: Final = "TIDEGATE_AGENT_"
FILE_DEFAULT: Final = Path("/etc/tidegate/agent.toml")

Size = Annotated[int, Meta(ge=0)]
Span = Annotated[int, Meta(ge=0)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. Sizes in bytes, spans in milliseconds.

    Attributes:
        state_dir: keys, certificates, journal, cache; only the agent reads it.
        apps_dir: installed apps; ``apps`` in `state_dir` by default.
        log_level: debug, info, warning or error.
        ports: the `PORT` of each app's service; an app that is not named gets a free one.
        keep_versions: how many folders of an app are kept, the current one included.
        cache_bytes_max: how much of verified artifacts is kept.
        disk_reserve_bytes: what a download must leave free.
        app_bytes_max: the most an archive may unpack to.
        rate_bytes_min: the least average rate of a download, per second.
        lock_wait_ms: how long an activation waits for an app's lock file to go.
        keep_services: leave services running when the agent is stopped in good order.
    """

    state_dir: str = "/var/lib/tidegate-agent"
    apps_dir: str = ""
    log_level: str = "info"
    ports: Mapping[str, Annotated[int, Meta(ge=1, le=65535)]] = {}
    keep_versions: Annotated[int, Meta(ge=2, le=100)] = 3
    cache_bytes_max: Size = 1_000_000_000
    disk_reserve_bytes: Size = 64_000_000
    app_bytes_max: Size = 4_000_000_000
    rate_bytes_min: Size = 512
    lock_wait_ms: Span = 60_000
    keep_services: bool = False

    @property
    def state(self) -> Path:
        """The folder of the agent's own state."""
        return Path(self.state_dir).absolute()

    @property
    def apps(self) -> Path:
        """The folder of the installed apps; absolute, since services run in folders of their own and are told of it."""
        return Path(self.apps_dir).absolute() if self.apps_dir else self.state / "apps"


def read_config(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Read the settings.

    Args:
        file: the TOML file; None for the default one, which may be missing.
        environment: where `TIDEGATE_AGENT_<SETTING>` may stand; ports as ``shop=8080,menu=8081``.
        flags: settings of the command line; None means not given.

    Raises:
        ConfigError: when the file cannot be read, or a setting is unknown or out of range.
    """
    values: dict[str, Any] = {}
    if file is not None or FILE_DEFAULT.exists():
        values |= _read_file(file or FILE_DEFAULT)
    values |= _read_environment(environment)
    values |= {name: value for name, value in flags.items() if value is not None}
    try:
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings: {error}") from error


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"settings file {file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {file} is no TOML: {error}") from error


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in Config.__struct_fields__:
        text = environment.get(PREFIX + field.upper())
        if text is not None:
            values[field] = read_ports(text.split(",")) if field == "ports" else text
    return values


def read_ports(texts: list[str]) -> dict[str, str]:
    """Read ports given as ``app=number``.

    Raises:
        ConfigError: when one has another form.
    """
    ports = {}
    for text in filter(None, texts):
        app, equals, number = text.partition("=")
        if not (app and equals and number.isdecimal()):
            raise ConfigError(f"port {text!r}: expected app=number, as in shop=8080")
        ports[app] = number
    return ports
