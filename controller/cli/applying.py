"""``tidegate pipeline apply``: first the plan, then consent, then the edits, each from what the plan saw."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from controller.cli.addresses import quoted
from controller.cli.client import Tagged
from controller.cli.failures import CliError
from controller.cli.output import Column, Shape
from controller.cli.session import Session
from controller.domain.wording import counted

if TYPE_CHECKING:
    from controller.documents import Definition

SHAPE: Final = Shape("name", (Column("KIND", "kind"), Column("NAME", "name"), Column("RESULT", "result")))
JOB_FIELDS: Final = ("name", "pipeline", "operation", "priority", "parameters", "triggers")
"""What is written in a job, of all that the API tells of one."""
FOLDERS: Final = {"Pipeline": "/v1/pipelines", "Job": "/v1/jobs"}


class Step:
    """One definition of the files, and what is there before it is applied."""

    def __init__(self, session: Session, definition: "Definition") -> None:
        from controller.documents import to_document

        self.definition = definition
        self.document = to_document(definition)
        self.kind: str = self.document["kind"]
        self.path = f"{FOLDERS[self.kind]}/{quoted(definition.name)}"
        self.found: Tagged = session.client.find(self.path)
        self.before = None if self.found.data is None else definition_of(self.found.data)

    @property
    def is_needed(self) -> bool:
        """Say whether anything would be another than it is."""
        return self.before != self.definition

    @property
    def plan(self) -> str:
        """What would be done, in words."""
        if self.before is None:
            return "create"
        return "change" if self.is_needed else "stay"

    def diff(self) -> str:
        """Return what is different, as text."""
        from controller.documents import as_text

        name = f"{self.kind} {self.definition.name}"
        return as_text(self.before, self.definition, old=f"{name} (there)", new=f"{name} (file)")

    def apply(self, session: Session) -> str:
        """Do it, unless somebody changed the thing since it was looked at; return what was done.

        Raises:
            CliError: with `ExitCode.CONFLICT` when somebody did.
        """
        if not self.is_needed:
            return "unchanged"
        after = session.client.send("PUT", self.path, self.document, match=self.found.match)
        revision = f", revision {after['revision']}" if "revision" in after else ""
        return f"{'created' if self.before is None else 'changed'}{revision}"


def apply(session: Session, definitions: "Sequence[Definition]", *, dry_run: bool) -> None:
    """Make what there is equal to *definitions*, pipelines before the jobs that need them."""
    ordered = sorted(definitions, key=lambda definition: type(definition).__name__ != "Pipeline")
    steps = [Step(session, definition) for definition in ordered]
    for step in steps:
        if step.is_needed:
            session.printer.say(step.diff().rstrip("\n"))
    needed = [step for step in steps if step.is_needed]
    if dry_run:
        session.printer.items([_item(step, f"would {step.plan}") for step in steps], SHAPE)
        return
    if needed:
        session.confirm(_consequence(needed))
    session.printer.items(_results(session, steps), SHAPE)


def _results(session: Session, steps: "Sequence[Step]") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for step in steps:
        try:
            items.append(_item(step, step.apply(session)))
        except CliError:
            session.printer.items(items, SHAPE)
            session.printer.say(f"{step.kind} {step.definition.name} could not be applied, nor what follows it")
            raise
    return items


def _item(step: Step, result: str) -> dict[str, Any]:
    return {"kind": step.kind, "name": step.definition.name, "result": result}


def _consequence(steps: "Sequence[Step]") -> str:
    new = sum(step.before is None for step in steps)
    parts = [f"create {counted(new, 'definition')}"] if new else []
    parts += [f"change {counted(len(steps) - new, 'definition')}"] if len(steps) > new else []
    return f"this will {' and '.join(parts)}"


def definition_of(data: dict[str, Any]) -> "Definition":
    """Return the definition that the API's answer shows.

    Raises:
        CliError: when the controller knows fields that this program does not.
    """
    import json

    from controller.documents import InvalidDefinition, Kind, load_one

    is_pipeline = "definition" in data
    written = data["definition"] if is_pipeline else {field: data[field] for field in JOB_FIELDS}
    try:
        return load_one(json.dumps(written), Kind.PIPELINE if is_pipeline else Kind.JOB)
    except InvalidDefinition as error:
        message = f"{data['name']} of the controller cannot be read: is this program older?"
        raise CliError(message, details=[f"{fault.place}: {fault.message}" for fault in error.faults]) from error
