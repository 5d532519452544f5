"""``tidegate job``: operations bound to pipelines."""

from typing import Annotated, Any

import typer

from controller.cli import previews
from controller.cli.addresses import quoted
from controller.cli.applying import JOB_FIELDS
from controller.cli.commands import Limit, Values, pairs_of, show_list
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

group = typer.Typer()

Channels = Annotated[
    list[str] | None, typer.Option("--channel", help="Start on each new release in this channel; repeatable.")
]
Crons = Annotated[
    list[str] | None, typer.Option("--cron", help="Start by a schedule such as '0 2 * * MON-FRI'; repeatable.")
]
Zone = Annotated[str, typer.Option("--zone", help="The time zone of --cron.")]
Name = Annotated[str, typer.Argument(help="The job's name.")]


def _told(trigger: Any) -> str:
    return f"channel {trigger['channel']}" if "channel" in trigger else " ".join(trigger.values())


def _waiting(job: Any) -> str:
    waiting = job["waiting"]
    return f"{waiting['version'] or job['operation']['version']} of {waiting['by']}"


def _triggers(channels: list[str] | None, crons: list[str] | None, zone: str) -> list[dict[str, str]]:
    on_release = [{"channel": channel} for channel in channels or []]
    return [*on_release, *({"cron": cron, "zone": zone} for cron in crons or [])]


SHAPE = Shape(
    "name",
    (
        Column("NAME", "name"),
        Column("PIPELINE", "pipeline"),
        Column("APP", lambda job: job["operation"]["app"]),
        Column("VERSION", lambda job: job["operation"]["version"]),
        Column("PRIORITY", "priority"),
        Column("ACTIVE RUN", "active_run"),
        Column("STARTS", lambda job: ", ".join(_told(trigger) for trigger in job["triggers"])),
        Column("NEXT", "next_at"),
        Column(
            "WAITING",
            lambda job: job["waiting"] and _waiting(job),
            is_wide=True,
        ),
        Column("HOOK", "has_hook", is_wide=True),
        Column("CREATED", "created_at", is_wide=True),
        Column("SET", "parameters", is_wide=True),
        Column("PARAMS", lambda job: job["operation"]["params"], is_wide=True),
        Column("ENV", lambda job: job["operation"]["env"], is_wide=True),
    ),
)

HOOK = Shape("secret", (Column("JOB", "id"), Column("SECRET", "secret")))


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
    channel: Channels = None,
    cron: Crons = None,
    zone: Zone = "UTC",
) -> None:
    """Create a job; --set gives a value for a parameter of its pipeline."""
    operation: dict[str, Any] = {"app": app, "version": version}
    operation |= {"params": pairs_of(param or []), "env": pairs_of(env or [])}
    body: dict[str, Any] = {"name": name, "pipeline": pipeline, "operation": operation, "priority": priority}
    body |= {"parameters": pairs_of(values)} if values else {}
    body["triggers"] = _triggers(channel, cron, zone)
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
    """Change what is written in a job; its triggers stay, and a run that exists goes on as it was started."""
    before = session.client.read(f"/v1/jobs/{quoted(name)}")
    written = {field: before.data[field] for field in JOB_FIELDS}
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


@command(group, "triggers")
def set_triggers(
    session: Session, *, name: Name, channel: Channels = None, cron: Crons = None, zone: Zone = "UTC"
) -> None:
    """Set what starts runs of a job by itself; without options, nothing does."""
    path = f"/v1/jobs/{quoted(name)}"
    before = session.client.read(path)
    body = {"triggers": _triggers(channel, cron, zone)}
    session.printer.item(session.client.send("PUT", f"{path}/triggers", body, match=before.match), SHAPE)


@command(group, "hook")
def make_hook(
    session: Session,
    *,
    name: Name,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it instead.")] = False,
) -> None:
    """Make a job's webhook and print its secret, this once; one that it had is void from then on."""
    path = f"/v1/jobs/{quoted(name)}/hook"
    if remove:
        session.confirm(f"nothing that the hook of job {name} signed will count any more")
        session.client.send("DELETE", path)
        return
    secret = session.client.send("POST", path)
    session.printer.say(f"calls go to POST /v1/hooks/{name}; the secret is shown this once")
    session.printer.item(secret, HOOK)
