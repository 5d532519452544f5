"""How previews are shown."""

from typing import Annotated, Any, Final

import typer

from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.session import Session
from controller.domain.wording import counted

Salt = Annotated[str | None, typer.Option("--salt", help="That of an earlier preview; it fixes shares and order.")]
StageName = Annotated[str | None, typer.Option("--stage", help="List the devices of this stage.")]
ReasonName = Annotated[
    str | None, typer.Option("--reason", help="With --stage: those that it does not get for this reason.")
]
ChangeName = Annotated[
    str | None, typer.Option("--change", help="List those that are new, gone or moved since the last run.")
]
_REASONS: Final = {
    "not_listed": "not listed",
    "labels": "other labels",
    "groups": "other groups",
    "query": "not found by the query",
    "percent": "outside the share",
}


def _left_out(stage: Any) -> str:
    return "; ".join(f"{one['devices']} {_said(one['reason'], one['stage'])}" for one in stage["left_out"])


def _said(reason: str, stage: str) -> str:
    return f"in stage {stage}" if stage else _REASONS.get(reason, reason)


STAGE: Final = Shape(
    "name",
    (
        Column("STAGE", "name"),
        Column("DEVICES", "devices"),
        Column("HELD BACK", lambda stage: stage["control"] or ""),
        Column("LEFT OUT", _left_out),
        Column("FIRST", lambda stage: list(stage["first"]), is_wide=True),
    ),
)
PREVIEW: Final = Shape("salt", (Column("SALT", "salt"),))
DEVICE: Final = Shape(
    "device",
    (
        Column("DEVICE", "device"),
        Column("STAGE", "stage"),
        Column("LEFT OUT", lambda row: _said(row["reason"], row["in_stage"])),
        Column("LAST RUN", "before"),
    ),
)


def show(session: Session, found: Any) -> None:
    """Print a preview: for people its stages, and in words what is not in the table."""
    if not session.printer.is_for_people:
        session.printer.item(found, PREVIEW)
        return
    session.printer.items(found["stages"], STAGE)
    rest = found["devices"] - found["placed"]
    session.printer.say(f"{counted(found['placed'], 'device')} in a stage, {rest} in none")
    if found["last_run"]:
        changes = f"{found['new']} new, {found['gone']} gone, {found['moved']} in another stage"
        session.printer.say(f"since run {found['last_run']}: {changes}")
    if found["no_way_back_to"]:
        versions = ", ".join(found["no_way_back_to"])
        session.printer.say(f"no way back: the floor of this release forbids going back to {versions}")


def required(salt: str | None) -> str:
    """Return the salt without which a list of devices is of no preview.

    Raises:
        CliError: when there is none.
    """
    if salt is None:
        raise CliError("expected --salt, which the preview named", code=ExitCode.USAGE)
    return salt
