"""Which controller to talk to: named contexts in a configuration file that only its owner can read."""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from controller.cli.failures import CliError, ExitCode

CONFIG_VARIABLE: Final = "TIDEGATE_CONFIG"


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A controller's address, a token for it, and the CA certificate that its own certificate is checked with."""

    url: str = ""
    token: str = ""
    ca: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration file."""

    current: str = ""
    contexts: Mapping[str, Context] = msgspec.field(default_factory=dict)


def path() -> Path:
    """Return where the configuration file is, or would be."""
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    import platformdirs

    return platformdirs.user_config_path("tidegate") / "config.toml"


def load() -> Config:
    """Read the configuration file; without one, the configuration is empty.

    Raises:
        CliError: when it is not valid.
    """
    try:
        return msgspec.convert(tomllib.loads(path().read_text("utf-8")), Config)
    except FileNotFoundError:
        return Config()
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CliError(f"{path()}: {error}") from error


def save(config: Config) -> None:
    """Write the configuration file so that nobody else can read it, whole or not at all.

    Raises:
        CliError: when the file system refuses.
    """
    target = path()
    part = target.with_suffix(".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(_toml(config))
        part.replace(target)
    except OSError as error:
        raise CliError(f"{target}: {error}") from error


def _toml(config: Config) -> str:
    lines = [f"current = {_quoted(config.current)}"]
    for name, context in sorted(config.contexts.items()):
        lines += ["", f"[contexts.{_quoted(name)}]"]
        lines += [f"{key} = {_quoted(value)}" for key, value in msgspec.structs.asdict(context).items() if value]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def resolve(*, url: str, token: str, ca: str, name: str) -> Context:
    """Return what to talk to: flags first, then a context named by flag, then the environment, then the current one.

    Raises:
        CliError: when no address is known, or there is no context of that *name*.
    """
    config = load()
    if name and name not in config.contexts:
        known = ", ".join(sorted(config.contexts)) or "none"
        raise CliError(f"there is no context {name!r}; known: {known}", code=ExitCode.USAGE)
    environment = Context(**{key: os.environ.get(f"TIDEGATE_{key.upper()}", "") for key in ("url", "token", "ca")})
    current = config.contexts.get(config.current, Context())
    found = _combined(
        [Context(url=url, token=token, ca=ca), config.contexts.get(name, Context()), environment, current]
    )
    if not found.url:
        raise CliError(
            "no controller is known: pass --url, set TIDEGATE_URL, or add one with 'tidegate context add'",
            code=ExitCode.USAGE,
        )
    return found


def _combined(sources: Sequence[Context]) -> Context:
    """Take each part from the first source that has it; a token saved for one address is never sent to another."""
    url = next((source.url for source in sources if source.url), "")
    fitting = [source for source in sources if source.url in {"", url}]
    token = next((source.token for source in fitting if source.token), "")
    return Context(url=url, token=token, ca=next((source.ca for source in fitting if source.ca), ""))
