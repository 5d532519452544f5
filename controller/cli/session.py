"""What every command shares: the options for controller, token and output, and how errors become exit codes."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Output, Printer

if TYPE_CHECKING:
    from controller.cli.client import Client

F = TypeVar("F", bound=Callable[..., None])
PANEL = "Common options"


@dataclass(frozen=True, kw_only=True)
class Session:
    """One call of the command line."""

    url: str = ""
    token: str = ""
    ca: str = ""
    context: str = ""
    output: Output = Output.TABLE
    yes: bool = False
    no_input: bool = False

    @cached_property
    def printer(self) -> Printer:
        """What prints."""
        return Printer(self.output)

    @cached_property
    def client(self) -> "Client":
        """The client of the chosen controller."""
        from controller.cli import contexts
        from controller.cli.client import Client

        return Client(contexts.resolve(url=self.url, token=self.token, ca=self.ca, name=self.context))

    @property
    def may_ask(self) -> bool:
        """Say whether a person is there to answer."""
        return not self.no_input and sys.stdin.isatty()

    def confirm(self, consequence: str) -> None:
        """Go on only with consent, by ``--yes`` or by answer.

        Raises:
            CliError: when it is refused, or nobody can be asked.
        """
        if self.yes:
            return
        if not self.may_ask:
            raise CliError(f"{consequence}: pass --yes to go on", code=ExitCode.CANCELLED)
        self.printer.say(consequence)
        if not typer.confirm("Go on?", err=True):
            raise CliError("cancelled", code=ExitCode.CANCELLED)


def _option(kind: Any, name: str, *names: str, default: Any, text: str) -> inspect.Parameter:
    annotation = Annotated[kind, typer.Option(*names, help=text, rich_help_panel=PANEL)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_REMOTE = (
    _option(Output, "output", "-o", "--output", default=Output.TABLE, text="Form of the output."),
    _option(str, "url", "--url", default="", text="Address of the controller; else TIDEGATE_URL or the context."),
    _option(str, "token", "--token", default="", text="API token; else TIDEGATE_TOKEN or the context."),
    _option(str, "ca", "--ca", default="", text="CA certificate file; else TIDEGATE_CA or the context."),
    _option(str, "context", "--context", default="", text="A context of the configuration file."),
    _option(bool, "yes", "--yes", "-y", default=False, text="Do not ask for consent."),
)
_LOCAL = (_option(bool, "no_input", "--no-input", default=False, text="Never ask for anything."),)


def command(group: typer.Typer, name: str, *, is_local: bool = False) -> Callable[[F], F]:
    """Register a function whose first argument is a `Session` as a command, with the shared options added.

    A local command talks to no controller, so it has none of the options that choose one.
    """
    options = _LOCAL if is_local else (*_REMOTE, *_LOCAL)

    def register(function: F) -> F:
        signature = inspect.signature(function, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "session"]

        def run(**values: Any) -> None:
            shared = {option.name: values.pop(option.name) for option in options}
            _run(function, Session(**shared), values)

        run.__name__ = function.__name__
        run.__doc__ = inspect.cleandoc(function.__doc__ or "")
        by_name = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__signature__ = inspect.Signature([*by_name, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*by_name, *options]}
        group.command(name)(run)
        return function

    return register


def _run(function: Callable[..., None], session: Session, values: dict[str, Any]) -> None:
    try:
        function(session, **values)
    except CliError as error:
        session.printer.messages.print(f"[bold red]error:[/] {_escaped(str(error))}")
        for detail in error.details:
            session.printer.say(f"  {detail}")
        raise typer.Exit(error.code) from error
    except (KeyboardInterrupt, typer.Abort) as error:
        session.printer.say("cancelled")
        raise typer.Exit(ExitCode.CANCELLED) from error
    finally:
        if "client" in vars(session):
            session.client.close()


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
