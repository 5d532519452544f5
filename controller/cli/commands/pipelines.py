"""``tidegate pipeline``: definitions from files, checked here before they are sent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.addresses import quoted
from controller.cli.commands import DryRun
from controller.cli.failures import CliError
from controller.cli.output import Column, Output, Shape
from controller.cli.session import Session, command

if TYPE_CHECKING:
    from controller.documents import Definition, Job
    from controller.domain.pipeline import Fault, Pipeline

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
CHANGE = Shape("name", (Column("KIND", "kind"), Column("NAME", "name"), Column("RESULT", "result")))


@command(group, "apply")
def apply_files(
    session: Session,
    *,
    file: Annotated[list[Path], typer.Option("--file", "-f", help="YAML or JSON files; - reads standard input.")],
    dry_run: DryRun = False,
) -> None:
    """Create or change the pipelines, and create the jobs, of files. Nothing is sent when any file has a fault."""
    definitions = _load_all(file)
    items = [_apply(session, definition, dry_run=dry_run) for definition in definitions]
    session.printer.items(items, CHANGE)


@command(group, "lint")
def lint_files(session: Session, file: Files) -> None:
    """Check files here, without a controller; every fault is listed with its line."""
    for definition in _load_all(file):
        session.printer.say(f"{definition.name}: no fault")


@command(group, "list")
def list_pipelines(session: Session) -> None:
    """List pipelines."""
    session.printer.items(session.client.get("/v1/pipelines"), SHAPE)


@command(group, "show")
def show_pipeline(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="The pipeline's name.")],
    revision: Annotated[int | None, typer.Option("--revision", min=1, help="Another one than the newest.")] = None,
) -> None:
    """Show a pipeline as the file that makes it; with -o wide, json or yaml all about its revision."""
    if session.output is Output.TABLE:
        path, params = f"/v1/pipelines/{quoted(name)}", {"revision": revision}
        text = session.client.get_bytes(path, accept="application/yaml", params=params)
        session.printer.raw(text.decode().rstrip("\n"))
    else:
        session.printer.item(session.client.get(f"/v1/pipelines/{quoted(name)}", {"revision": revision}), SHAPE)


@command(group, "archive")
def archive_pipeline(session: Session, name: Annotated[str, typer.Argument(help="The pipeline's name.")]) -> None:
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
            loaded += load(_read(file))
        except InvalidDefinition as error:
            faults += [_line(file, fault) for fault in error.faults]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise CliError(f"{count} found; nothing was changed", details=faults)
    return loaded


def _line(file: Path, fault: "Fault") -> str:
    """Return a fault as editors read it: file, line, column, place, message."""
    line, column, message = fault.message.split(":", 2)
    return f"{file}:{line}:{column}:{f' {fault.place}:' if fault.place else ''}{message}"


def _read(file: Path) -> bytes:
    """Return what *file* holds, or as much of it as shows that it is too long."""
    from controller.documents import BYTES_MAX

    if str(file) == "-":
        return typer.get_binary_stream("stdin").read(BYTES_MAX + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}") from error


def _apply(session: Session, definition: "Definition", *, dry_run: bool) -> dict[str, Any]:
    from controller.domain.pipeline import Pipeline

    if isinstance(definition, Pipeline):
        return _apply_pipeline(session, definition, dry_run=dry_run)
    return _create_job(session, definition, dry_run=dry_run)


def _apply_pipeline(session: Session, pipeline: "Pipeline", *, dry_run: bool) -> dict[str, Any]:
    from controller.documents import to_document

    path, document = f"/v1/pipelines/{quoted(pipeline.name)}", to_document(pipeline)
    before, match = session.client.find(path)
    if before is not None and before["definition"] == document:
        result = f"unchanged, revision {before['revision']}"
    elif dry_run:
        result = "would be created" if before is None else f"would become revision {before['revision'] + 1}"
    else:
        after = session.client.send("PUT", path, document, match=match)
        result = f"{_change(before, after)}, revision {after['revision']}"
    return {"kind": "Pipeline", "name": pipeline.name, "result": result}


def _change(before: Any, after: Any) -> str:
    if before is None:
        return "created"
    return "unchanged" if before["revision"] == after["revision"] else "changed"


def _create_job(session: Session, job: "Job", *, dry_run: bool) -> dict[str, Any]:
    from controller.documents import to_document

    document = to_document(job)
    path = f"/v1/jobs/{quoted(job.name)}"
    before, match = session.client.find(path)
    if before is not None and _written(document) == {field: before[field] for field in _written(document)}:
        result = "unchanged"
    elif dry_run:
        result = "would be created" if before is None else "would be changed"
    else:
        session.client.send("PUT", path, document, match=match)
        result = "created" if before is None else "changed"
    return {"kind": "Job", "name": job.name, "result": result}


def _written(document: dict[str, Any]) -> dict[str, Any]:
    operation = {"params": {}, "env": {}, **document["operation"]}
    return {"pipeline": document["pipeline"], "operation": operation, "priority": document.get("priority", 0)}
