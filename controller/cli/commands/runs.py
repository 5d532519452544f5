"""``tidegate run``: start, watch and steer runs."""

from collections import Counter
from typing import Annotated, Any

import typer

from controller.cli.addresses import quoted
from controller.cli.commands import (
    LIMIT_MAX,
    After,
    Limit,
    Reason,
    Values,
    pairs_of,
    show_list,
    show_log,
    span_of,
)
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.reasons import told_reasons
from controller.cli.session import Session, command
from controller.cli.timeline import said
from controller.domain.wording import are, counted

group = typer.Typer()
checks = typer.Typer()
group.add_typer(checks, name="check", help="Answer checks of stages.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(help="The run's id.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the run until it ends; exit code 5 unless it succeeds.")]
Timeout = Annotated[str, typer.Option("--timeout", help="Stop waiting after a span such as 2h; exit code 3.")]


def _state(run: Any) -> str:
    marks = [mark for mark in ("paused", "frozen", "waiting") if run[mark] and run["ended_at"] is None]
    return ", ".join([run["state"], *marks])


def _frozen(run: Any) -> str:
    freeze = run["frozen"]
    return "" if freeze is None else f"until {freeze['ends_at']} by {freeze['name']}: {freeze['reason']}"


def _devices(run: Any) -> str:
    counters = [stage["counters"] for stage in run["stages"]]
    total, ended = sum(sum(c.values()) for c in counters), sum(c["succeeded"] for c in counters)
    return f"{ended}/{total}"


def _since(target: Any) -> str:
    """Say what became of a device after its success: the mark that it told, and whether it fell silent."""
    return ", ".join(word for word in (target["health"], "silent" if target["is_silent"] else "") if word)


def _blocked(run: Any) -> str:
    """Say how many devices may not begin, by reason and over all stages; a list of runs does not tell."""
    counts: Counter[str] = Counter()
    for stage in run["stages"]:
        counts.update(stage["blocked"])
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


SHAPE = Shape(
    "id",
    (
        Column("RUN", "id"),
        Column("STATE", _state),
        Column("JOB", "job"),
        Column("APP", "app"),
        Column("VERSION", "version"),
        Column("SUCCEEDED", _devices),
        Column("STARTED", "created_at"),
        Column("ENDED", "ended_at"),
        Column("REASON", "reason"),
        Column("PIPELINE", lambda run: f"{run['pipeline']} r{run['revision']}", is_wide=True),
        Column("BLOCKED", _blocked, is_wide=True),
        Column("STARTED BY", "started_by", is_wide=True),
        Column("FROZEN", _frozen, is_wide=True),
        Column("OVER", lambda run: f"{run['purpose']} of {run['source']}" if run["source"] else "", is_wide=True),
        Column("ROLLED BACK BY", "rolled_back_by", is_wide=True),
        Column("PAUSED FOR", lambda run: told_reasons(run["pause_reasons"]), is_wide=True),
    ),
)
TARGET = Shape(
    "device",
    (
        Column("DEVICE", "device"),
        Column("STAGE", "stage"),
        Column("STATE", "state"),
        Column("ATTEMPT", "attempt"),
        Column("STEP", "attempt_state"),
        Column("REASON", "reason"),
        Column("SINCE", _since),
        Column("WAITS FOR", "waits_for"),
        Column("BLOCKED", "blocked", is_wide=True),
        Column("ASKED AGAIN", "check_at", is_wide=True),
        Column("LEFT", "left", is_wide=True),
        Column("HAD", "previous", is_wide=True),
        Column("GOES TO", "wanted", is_wide=True),
        Column("MODEL", "model", is_wide=True),
        Column("DONE", lambda target: f"{target['done']}/{target['total']}", is_wide=True),
        Column("OUTPUTS", "outputs", is_wide=True),
        Column("DETAIL", "detail", is_wide=True),
        Column("SAID SINCE", "health_detail", is_wide=True),
        Column("MEASURED", "measures", is_wide=True),
        Column("PAIRED", lambda target: "yes" if target.get("is_paired") else "", is_wide=True),
        Column("UPDATED", "updated_at", is_wide=True),
    ),
)
ENTRY = "entry"
TIMELINE = Shape("id", (Column("AT", "at"), Column("WHAT", said), Column("ID", "id", is_wide=True)))
EVENT = Shape("id", (Column("ID", "id"), Column("AT", "at"), Column("KIND", "kind"), Column("DATA", "data")))


@command(group, "start")
def start_run(
    session: Session,
    *,
    job: Annotated[str, typer.Argument(help="The job's name.")],
    version: Annotated[str | None, typer.Option("--version", help="Another version than the job's.")] = None,
    salt: Annotated[str | None, typer.Option("--salt", help="That of a preview, to start just what it showed.")] = None,
    values: Values = None,
    env: Annotated[list[str] | None, typer.Option("--env", help="KEY=value for this run's environment.")] = None,
    allow_deprecated: Annotated[bool, typer.Option("--allow-deprecated", help="Even of a deprecated release.")] = False,
    wait: Wait = False,
    timeout: Timeout = "",
) -> None:
    """Start a run of a job."""
    body: dict[str, Any] = {"job": job, "version": version, "salt": salt}
    body |= {"parameters": pairs_of(values or []), "env": pairs_of(env or []), "allow_deprecated": allow_deprecated}
    _begun(session, session.client.send("POST", "/v1/runs", body), wait=wait, timeout=timeout)


@command(group, "watch")
def watch_run(session: Session, run: RunId, timeout: Timeout = "") -> None:
    """Follow a run until it ends; exit code 5 unless it succeeds."""
    _follow(session, run, timeout)


@command(group, "status")
def show_status(session: Session, run: RunId) -> None:
    """Show how a run stands, as a tree."""
    data = session.client.get(f"/v1/runs/{quoted(run)}")
    if not session.printer.is_for_people:
        session.printer.item(data, SHAPE)
        return
    from controller.app.views import RunView
    from controller.cli import wire
    from controller.cli.progress import render_run

    session.printer.console.print(render_run(wire.view(data, RunView)))


@command(group, "list")
def list_runs(
    session: Session,
    *,
    job: Annotated[str | None, typer.Option("--job", help="Only of this job.")] = None,
    active: Annotated[bool | None, typer.Option("--active/--ended", help="Only running ones, or ended ones.")] = None,
    limit: Limit = 50,
) -> None:
    """List runs, newest first."""
    show_list(session, "/v1/runs", {"job": job, "active": active}, shape=SHAPE, limit=limit)


@command(group, "targets")
def list_targets(
    session: Session,
    *,
    run: RunId,
    stage: Annotated[str | None, typer.Option("--stage", help="Only of this stage.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Only in this state, such as failed.")] = None,
    limit: Limit = 100,
) -> None:
    """List the devices of a run."""
    params = {"stage": stage, "state": state}
    show_list(session, f"/v1/runs/{quoted(run)}/targets", params, shape=TARGET, limit=limit)


@command(group, "events")
def list_events(session: Session, run: RunId, after: After = None, limit: Limit = 100) -> None:
    """Read the newest entries of a run's timeline, the last one last."""
    show_log(session, f"/v1/runs/{quoted(run)}/events", shape=EVENT, after=after, limit=limit)


@command(group, "timeline")
def show_timeline(
    session: Session,
    *,
    run: RunId,
    after: Annotated[int, typer.Option("--after", min=0, help="Only entries with a greater id.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
) -> None:
    """Tell what happened in a run, in words: stages, gates with their numbers, who did what and why."""
    import json

    path = f"/v1/runs/{quoted(run)}/events"
    if not follow:
        session.printer.items(session.client.entries(path, after=after, limit=LIMIT_MAX), TIMELINE)
        return
    for event in session.client.stream(f"{path}/stream", after=after):
        if event.kind == ENTRY:
            session.printer.line(json.loads(event.data), TIMELINE)


@command(group, "pause")
def pause_run(session: Session, run: RunId, reason: Reason) -> None:
    """Hold a run: once this answers, no device is sent anything more."""
    _act(session, run, "pause", {"reason": _required(reason)})


@command(group, "resume")
def resume_run(
    session: Session,
    *,
    run: RunId,
    reason: Reason = "",
    override: Annotated[bool, typer.Option("--override", help="Go on over a breached gate.")] = False,
) -> None:
    """Go on with a paused run."""
    if override:
        _required(reason)
        session.confirm(f"run {run} will go on although a gate was breached")
    _act(session, run, "resume", {"reason": reason, "override": override})


@command(group, "readmit")
def readmit_model(
    session: Session,
    *,
    run: RunId,
    model: Annotated[str, typer.Option("--model", help="The quarantined model.")] = "",
    others: Annotated[bool, typer.Option("--others", help="The models that have no test of their own.")] = False,
    reason: Reason = "",
) -> None:
    """Let devices of a quarantined model begin again; those that were called off stay so."""
    if bool(model) == others:
        raise CliError("expected either --model, with its name, or --others", code=ExitCode.USAGE)
    body = {"model": model, "reason": _required(reason)}
    meant = f"model {model}" if model else "the models without a test of their own"
    session.confirm(f"{meant} may begin again in run {run}, although too many have failed")
    _act(session, run, "readmit", body)


@command(group, "terminate")
def terminate_run(session: Session, run: RunId, reason: Reason) -> None:
    """End a run for good: nothing more is sent, and devices at work are called back."""
    _required(reason)
    if not session.yes:
        session.confirm(_consequence(_not_ended(session.client.get(f"/v1/runs/{quoted(run)}"))))
    _act(session, run, "terminate", {"reason": reason})


@command(group, "approve")
def approve_stage(
    session: Session,
    *,
    run: RunId,
    stage: Annotated[str, typer.Argument(help="The stage.")],
    reason: Reason = "",
) -> None:
    """Consent to the promotion of a stage that neither your revision nor your start is behind."""
    _act(session, run, f"stages/{quoted(stage)}/approve", {"reason": reason})


@command(checks, "answer")
def answer_check(
    session: Session,
    *,
    run: RunId,
    stage: Annotated[str, typer.Argument(help="The stage.")],
    check: Annotated[str, typer.Argument(help="The check.")],
    ok: Annotated[bool, typer.Option("--ok/--failed", help="How it went.")],
    reason: Reason = "",
) -> None:
    """Say how a check went, in place of who is asked: OK is final, and a failure breaches the gate."""
    body = {"answer": "ok" if ok else "failed", "reason": _required(reason)}
    _act(session, run, f"stages/{quoted(stage)}/checks/{quoted(check)}", body)


@command(group, "retry")
def retry_run(
    session: Session,
    *,
    run: RunId,
    version: Annotated[str | None, typer.Option("--version", help="Another version than the run's.")] = None,
    with_cancelled: Annotated[
        bool, typer.Option("--with-cancelled", help="Also those cancelled by a terminate, a skip or a failed stage.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = "",
) -> None:
    """Start a run over the devices of an ended run that failed or were missed."""
    body = {"version": version, "with_cancelled": with_cancelled}
    begun = session.client.send("POST", f"/v1/runs/{quoted(run)}/retry", body)
    _begun(session, begun, wait=wait, timeout=timeout)


@command(group, "rollback")
def roll_back_run(
    session: Session,
    *,
    run: RunId,
    reason: Reason = "",
    to: Annotated[str | None, typer.Option("--to", help="One version for all; else each to what it had.")] = None,
) -> None:
    """Take back each device that a run has reached, by a run of its own; a run under way is ended first."""
    body = {"reason": _required(reason), "version": to}
    path = f"/v1/runs/{quoted(run)}/rollback"
    if not session.yes:
        from controller.cli.rollbacks import consequence

        session.confirm(consequence(session.client.get(path, {"version": to})))
    rolled = session.client.send("POST", path, body)
    session.printer.item(rolled, SHAPE)
    if rolled["rolled_back_by"]:
        session.printer.say(f"next: tidegate run watch {rolled['rolled_back_by']}")
    else:
        session.printer.say(f"run {run} ends first: `tidegate run status {run} -o json` then names its rollback")


@command(group, "promote")
def promote_stage(
    session: Session,
    *,
    run: RunId,
    stage: Annotated[str | None, typer.Argument(help="Default: the only stage that waits.")] = None,
) -> None:
    """Open a stage that awaits a person."""
    _act(session, run, "promote", {"stage": stage or _waiting_stage(session, run)})


@command(group, "skip")
def skip_stage(
    session: Session,
    *,
    run: RunId,
    stage: Annotated[str, typer.Argument(help="The stage.")],
    reason: Reason = "",
) -> None:
    """Pass over a stage: its devices are called back, and what needs it goes on."""
    body = {"stage": stage, "reason": _required(reason)}
    session.confirm(f"stage {stage} ends as skipped: its devices are called back, and what needs it goes on")
    _act(session, run, "skip", body)


@command(group, "give-up")
def give_up_device(
    session: Session,
    *,
    run: RunId,
    device: Annotated[str, typer.Argument(help="The device's id.")],
    reason: Reason = "",
) -> None:
    """Count a device as failed that the run would go on waiting for; no gate counts it."""
    path = f"/v1/runs/{quoted(run)}/targets/{quoted(device)}/give-up"
    session.printer.item(session.client.send("POST", path, {"reason": _required(reason)}), TARGET)


def _begun(session: Session, run: Any, *, wait: bool, timeout: str) -> None:
    """Show a run that has just begun and what it waits for, or follow it."""
    if not wait:
        session.printer.item(run, SHAPE)
    for stage in _awaiting(run):
        session.printer.say(f"next: tidegate run promote {run['id']} {stage}")
    if wait:
        _follow(session, run["id"], timeout)


def _act(session: Session, run: str, verb: str, body: dict[str, Any]) -> None:
    session.printer.item(session.client.send("POST", f"/v1/runs/{quoted(run)}/{verb}", body), SHAPE)


def _follow(session: Session, run: str, timeout: str) -> None:
    from controller.cli import watch

    ended = watch.follow(session, run, timeout_ms=span_of(timeout) if timeout else None)
    if not session.printer.is_for_people:
        session.printer.item(session.client.get(f"/v1/runs/{quoted(run)}"), SHAPE)
    watch.require_success(ended)


def _required(reason: str) -> str:
    if not reason.strip():
        raise CliError("expected --reason: why? it is kept in the audit log", code=ExitCode.USAGE)
    return reason


def _not_ended(run: Any) -> Any:
    if run["ended_at"] is not None:
        raise CliError(f"Conflict: run {run['id']} has ended: it is {run['state']}", code=ExitCode.CONFLICT)
    return run


def _consequence(run: Any) -> str:
    counters = [stage["counters"] for stage in run["stages"]]
    queued, at_work = sum(c["queued"] for c in counters), sum(c["in_progress"] for c in counters)
    called_back = f"{at_work} at work {are(at_work)} called back"
    return f"run {run['id']} ends for good: {counted(queued, 'device')} will not start, {called_back}"


def _awaiting(run: Any) -> list[str]:
    return [stage["name"] for stage in run["stages"] if stage["state"] == "awaiting_promotion"]


def _waiting_stage(session: Session, run: str) -> str:
    waiting = _awaiting(session.client.get(f"/v1/runs/{quoted(run)}"))
    if len(waiting) == 1:
        return waiting[0]
    hint = f"name one of: {', '.join(waiting)}" if waiting else "no stage awaits a promotion"
    raise CliError(hint, code=ExitCode.USAGE if waiting else ExitCode.CONFLICT)
