"""``tidegate stop-everything``: the emergency stop of the whole fleet."""

from typing import Annotated

import typer

from controller.cli.commands import Reason
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

PATH = "/v1/stop-everything"
SHAPE = Shape(
    "stopped",
    (
        Column("STOPPED", lambda it: "yes" if it["stopped"] else "no"),
        Column("SINCE", "since"),
        Column("BY", "by"),
        Column("REASON", "reason"),
    ),
)


def add_to(app: typer.Typer) -> None:
    """Add the command to *app*."""

    @command(app, "stop-everything")
    def stop_everything(
        session: Session,
        *,
        reason: Reason = "",
        lift: Annotated[bool, typer.Option("--lift", help="Let everything go on that nothing else holds.")] = False,
        show: Annotated[bool, typer.Option("--show", help="Only say whether everything is stopped.")] = False,
    ) -> None:
        """Pause every run there is and every run to come: once this answers, no device is sent anything more."""
        if show:
            session.printer.item(session.client.get(PATH), SHAPE)
            return
        if not reason.strip():
            raise CliError("expected --reason: why? it is kept in the audit log", code=ExitCode.USAGE)
        if lift:
            session.confirm("every run goes on that nothing else holds")
        session.printer.item(session.client.send("POST", f"{PATH}/lift" if lift else PATH, {"reason": reason}), SHAPE)
