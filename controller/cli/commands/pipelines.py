"""``tidegate pipeline``: definitions from files, checked here before they are sent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import previews
from controller.cli.addresses import quoted
from controller.cli.commands import DryRun, Limit, Values, pairs_of, show_list
from controller.cli.failures import CliError
from controller.cli.files import line_of, read_file
from controller.cli.output import Column, Output, Shape
from controller.cli.session import Session, command
from controller.domain.wording import counted

if TYPE_CHECKING:
    from controller.documents import Definition

group = typer.Typer()

Files = Annotated[list[Path], typer.Argument(help="YAML or JSON files; - reads standard input.")]
SHAPE = Shape(
    "name",
    (
        Column("NAME", "name"),
        Column("REVISION", "revision"),
        Column("STAGES", lambda view: " → ".join(stage["name"] for stage in view["definition"]["stages"])),
        Column("AUTHOR", "author"),
        Column("CREATED", "created_at"),
        Column("DESCRIPTION", lambda view: view["definition"].get("description"), is_wide=True),
    ),
)
REVISION = Shape(
    "revision",
    (
        Column("REVISION", "revision"),
        Column("CREATED", "created_at"),
        Column("AUTHOR", "author"),
        Column("CHANGE", "change"),
        Column("ARCHIVED", "archived_at", is_wide=True),
    ),
)
DIFFERENCE = Shape("summary", (Column("SUMMARY", "summary"),))
Name = Annotated[str, typer.Argument(help="The pipeline's name.")]


@command(group, "apply")
def apply_files(
    session: Session,
    *,
    file: Annotated[list[Path], typer.Option("--file", "-f", help="YAML or JSON files; - reads standard input.")],
    dry_run: DryRun = False,
) -> None:
    """Create or change the pipelines and jobs of files: show what is different, ask, and do it.

    Nothing is sent when any file has a fault. What somebody changed since the difference was shown is left alone.
    """
    from controller.cli import applying

    applying.apply(session, _load_all(file), dry_run=dry_run)


@command(group, "lint")
def lint_files(session: Session, file: Files) -> None:
    """Check files here, without a controller; every fault is listed with its line."""
    from controller.documents import to_document

    for definition in _load_all(file):
        kind = to_document(definition)["kind"].lower()
        session.printer.say(f"{kind} {definition.name}: no fault")


@command(group, "list")
def list_pipelines(session: Session) -> None:
    """List pipelines."""
    session.printer.items(session.client.get("/v1/pipelines"), SHAPE)


@command(group, "show")
def show_pipeline(
    session: Session,
    *,
    name: Name,
    revision: Annotated[int | None, typer.Option("--revision", min=1, help="Another one than the newest.")] = None,
) -> None:
    """Show a pipeline as the file that makes it; with -o wide, json or yaml all about its revision."""
    if session.output is Output.TABLE:
        path, params = f"/v1/pipelines/{quoted(name)}", {"revision": revision}
        text = session.client.get_bytes(path, accept="application/yaml", params=params)
        session.printer.raw(text.decode().rstrip("\n"))
    else:
        session.printer.item(session.client.get(f"/v1/pipelines/{quoted(name)}", {"revision": revision}), SHAPE)


@command(group, "history")
def show_history(session: Session, name: Name, limit: Limit = 50) -> None:
    """List the revisions of a pipeline, the newest first: who changed what, and when."""
    show_list(session, f"/v1/pipelines/{quoted(name)}/revisions", {}, shape=REVISION, limit=limit)


@command(group, "diff")
def show_diff(
    session: Session,
    *,
    name: Name,
    older: Annotated[int | None, typer.Option("--from", min=1, help="Default: the one before.")] = None,
    newer: Annotated[int | None, typer.Option("--to", min=1, help="Default: the newest.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A file to compare with, instead of --to.")] = None,
) -> None:
    """Show what one revision of a pipeline, or a file, has other than an earlier revision."""
    if file is not None:
        found = _against_file(session, name, older, file)
    else:
        found = session.client.get(f"/v1/pipelines/{quoted(name)}/diff", {"from": older, "to": newer})
    if not session.printer.is_for_people:
        session.printer.item(found, DIFFERENCE)
    elif found["text"]:
        session.printer.raw(found["text"].rstrip("\n"))
    session.printer.say(found["summary"])


def _against_file(session: Session, name: str, revision: int | None, file: Path) -> dict[str, Any]:
    import msgspec

    from controller.cli.applying import definition_of
    from controller.documents import as_text, difference, in_one_line
    from controller.domain.pipeline import Pipeline

    definitions = _load_all([file])
    wanted = [definition for definition in definitions if isinstance(definition, Pipeline) and definition.name == name]
    if not wanted:
        raise CliError(f"{file}: no pipeline is named {name!r}")
    there = session.client.get(f"/v1/pipelines/{quoted(name)}", {"revision": revision})
    before, after = definition_of(there), wanted[0]
    found = difference(before, after)
    text = as_text(before, after, old=f"{name}@{there['revision']}", new=str(file))
    return {**msgspec.to_builtins(found), "summary": in_one_line(found), "text": text}


@command(group, "preview")
def preview_file(
    session: Session,
    *,
    file: Annotated[Path, typer.Argument(help="A YAML or JSON file of one pipeline; - reads standard input.")],
    job: Annotated[str | None, typer.Option("--job", help="Compare with the last run of this job.")] = None,
    values: Values = None,
    salt: previews.Salt = None,
) -> None:
    """Show which devices each stage of a file would get, and why not the others; nothing is stored."""
    from controller.documents import to_document
    from controller.domain.pipeline import Pipeline

    found = [definition for definition in _load_all([file]) if isinstance(definition, Pipeline)]
    if len(found) != 1:
        raise CliError(f"{file}: {counted(len(found), 'pipeline')}: expected one")
    given = {
        "job": job,
        "salt": salt,
        "parameter": [f"{name}={value}" for name, value in pairs_of(values or []).items()],
    }
    params = {name: value for name, value in given.items() if value is not None}
    previews.show(session, session.client.send("POST", "/v1/preview", to_document(found[0]), params=params))


@command(group, "archive")
def archive_pipeline(session: Session, name: Name) -> None:
    """Take a pipeline away that no job uses; its revisions stay, and applying it again brings it back."""
    path = f"/v1/pipelines/{quoted(name)}"
    before = session.client.read(path)
    session.confirm(f"pipeline {name} is taken away; its revisions stay")
    session.client.send("DELETE", path, match=before.match)
    session.printer.say(f"pipeline {name} is archived")


def _load_all(files: list[Path]) -> "list[Definition]":
    from controller.documents import InvalidDefinition, load

    loaded: list[Definition] = []
    faults: list[str] = []
    for file in files:
        try:
            loaded += load(read_file(file))
        except InvalidDefinition as error:
            faults += [line_of(file, fault) for fault in error.faults]
    if faults:
        count = counted(len(faults), "fault")
        raise CliError(f"{count} found; nothing was changed", details=faults)
    return loaded
