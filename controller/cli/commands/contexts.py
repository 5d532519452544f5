"""``tidegate context``: which controller to talk to."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from controller.cli import contexts
from controller.cli.contexts import Context
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

group = typer.Typer()

SHAPE = Shape("name", (Column("", "mark"), Column("NAME", "name"), Column("URL", "url"), Column("CA", "ca")))


@command(group, "add")
def add_context(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    token_file: Annotated[Path | None, typer.Option("--token-file", help="A file that holds the token.")] = None,
) -> None:
    """Save the controller given by --url, --token and --ca under a name, and use it from now on."""
    if not session.url:
        raise CliError("expected --url, the controller's address", code=ExitCode.USAGE)
    token = session.token
    if token_file is not None:
        token = _read(token_file)
    ca = str(Path(session.ca).resolve()) if session.ca else ""
    config = contexts.load()
    added = {**config.contexts, name: Context(url=session.url, token=token, ca=ca)}
    contexts.save(msgspec.structs.replace(config, current=name, contexts=added))
    session.printer.say(f"context {name!r} is saved in {contexts.path()} and in use")


@command(group, "use")
def use_context(session: Session, name: Annotated[str, typer.Argument(help="The context's name.")]) -> None:
    """Use a saved context from now on."""
    config = contexts.load()
    if name not in config.contexts:
        known = ", ".join(sorted(config.contexts)) or "none"
        raise CliError(f"there is no context {name!r}; known: {known}", code=ExitCode.USAGE)
    contexts.save(msgspec.structs.replace(config, current=name))
    session.printer.say(f"context {name!r} is in use")


@command(group, "list")
def list_contexts(session: Session) -> None:
    """List saved contexts; tokens are not shown."""
    config = contexts.load()
    items = [
        {"mark": "*" if name == config.current else "", "name": name, "url": context.url, "ca": context.ca}
        for name, context in sorted(config.contexts.items())
    ]
    session.printer.items(items, SHAPE)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path}: {error}") from error
