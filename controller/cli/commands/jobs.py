"""``tidegate job``: operations bound to pipelines."""

from typing import Annotated, Any

import typer

from controller.cli import previews
from controller.cli.addresses import quoted
from controller.cli.commands import Limit, Values, pairs_of, show_list
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

group = typer.Typer()

SHAPE = Shape(
    "name",
    (
        Column("NAME", "name"),
        Column("PIPELINE", "pipeline"),
        Column("APP", lambda job: job["operation"]["app"]),
        Column("VERSION", lambda job: job["operation"]["version"]),
        Column("PRIORITY", "priority"),
        Column("ACTIVE RUN", "active_run"),
        Column("CREATED", "created_at", is_wide=True),
        Column("PARAMS", lambda job: job["operation"]["params"], is_wide=True),
        Column("ENV", lambda job: job["operation"]["env"], is_wide=True),
    ),
)


@command(group, "create")
def create_job(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="The job's name.")],
    pipeline: Annotated[str, typer.Option("--pipeline", help="The pipeline to go through.")],
    app: Annotated[str, typer.Option("--app", help="The app to install.")],
    version: Annotated[str, typer.Option("--version", help="Its version; a run may take another one.")],
    param: Annotated[list[str] | None, typer.Option("--param", help="key=value for the installer.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", help="KEY=value for the installer's environment.")] = None,
    priority: Annotated[int, typer.Option(help="Which job gets a device first, higher before lower.")] = 0,
    values: Values = None,
) -> None:
    """Create a job; --set gives a value for a parameter of its pipeline."""
    operation: dict[str, Any] = {"app": app, "version": version}
    operation |= {"params": pairs_of(param or []), "env": pairs_of(env or [])}
    body = {"name": name, "pipeline": pipeline, "operation": operation, "priority": priority}
    body |= {"parameters": pairs_of(values)} if values else {}
    session.printer.item(session.client.send("POST", "/v1/jobs", body), SHAPE)


@command(group, "list")
def list_jobs(session: Session) -> None:
    """List jobs."""
    session.printer.items(session.client.get("/v1/jobs"), SHAPE)


@command(group, "show")
def show_job(session: Session, name: Annotated[str, typer.Argument(help="The job's name.")]) -> None:
    """Show one job."""
    session.printer.item(session.client.get(f"/v1/jobs/{quoted(name)}"), SHAPE)


@command(group, "change")
def change_job(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="The job's name.")],
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="Another pipeline.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Another version.")] = None,
    priority: Annotated[int | None, typer.Option(help="Another priority.")] = None,
    values: Values = None,
) -> None:
    """Change what is written in a job; a run that exists goes on as it was started."""
    before = session.client.read(f"/v1/jobs/{quoted(name)}")
    written = {field: before.data[field] for field in ("name", "pipeline", "operation", "priority", "parameters")}
    changes = {"pipeline": pipeline, "priority": priority}
    written |= {field: value for field, value in changes.items() if value is not None}
    if version is not None:
        written["operation"] = {**written["operation"], "version": version}
    written["parameters"] = {**written["parameters"], **pairs_of(values or [])}
    session.printer.item(session.client.send("PUT", f"/v1/jobs/{quoted(name)}", written, match=before.match), SHAPE)


@command(group, "preview")
def preview_job(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="The job's name.")],
    values: Values = None,
    salt: previews.Salt = None,
    stage: previews.StageName = None,
    reason: previews.ReasonName = None,
    change: previews.ChangeName = None,
    limit: Limit = 100,
) -> None:
    """Show which devices each stage of a run would get, why not the others, and what is new since the last run."""
    path = f"/v1/jobs/{quoted(name)}/preview"
    asked = {"stage": stage, "reason": reason, "change": change}
    given = {"parameter": [f"{name}={value}" for name, value in pairs_of(values or []).items()]}
    if any(asked.values()):
        params = {"salt": previews.required(salt), **asked, **given}
        show_list(session, f"{path}/devices", params, shape=previews.DEVICE, limit=limit)
        return
    found = session.client.get(path, {"salt": salt, **given})
    previews.show(session, found)
    session.printer.say(f"to start just this: tidegate run start {name} --salt {found['salt']}")


@command(group, "archive")
def archive_job(session: Session, name: Annotated[str, typer.Argument(help="The job's name.")]) -> None:
    """Take a job away that has no active run; its runs stay."""
    path = f"/v1/jobs/{quoted(name)}"
    before = session.client.read(path)
    session.confirm(f"job {name} is taken away; its runs stay")
    session.client.send("DELETE", path, match=before.match)
    session.printer.say(f"job {name} is archived")
