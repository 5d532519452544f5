"""Files of one gate, as it stands in a stage, to the domain's own data."""

from pydantic import ValidationError

from controller.app.errors import InvalidDefinition
from controller.documents import faults, source
from controller.documents.gate_models import GatePart
from controller.documents.source import FAULTS_MAX
from controller.domain.pipeline import Gate
from controller.domain.validation import Fault, gate_faults
from controller.domain.wording import counted


def load_gate(raw: bytes | str) -> Gate:
    """Read a file that holds one gate, in YAML or JSON.

    Raises:
        InvalidDefinition: when anything is wrong; `faults` lists all of it, each with its line and column.

    >>> load_gate("failures: {above: 1%}").sequential
    Sequential(above=1.0, alpha_percent=None)
    """
    roots = source.read(raw)
    if len(roots) != 1:
        message = f"1:1: {len(roots)} documents: expected one gate, such as failures: {{above: 1%}}"
        raise InvalidDefinition("expected one gate", [Fault(place="", message=message)])
    [root] = roots
    try:
        gate = GatePart.model_validate(root.data).to_domain()
    except ValidationError as error:
        details = error.errors(include_url=False)[:FAULTS_MAX]
        raise _invalid([faults.explain(root, detail, GatePart) for detail in details]) from error
    found = [faults.fault_at(root, faults.path_of(fault.place), fault.message) for fault in gate_faults("", gate)]
    if found:
        raise _invalid(found)
    return gate


def _invalid(found: list[Fault]) -> InvalidDefinition:
    count = counted(len(found), "fault")
    return InvalidDefinition(f"the gate has {count}", found)
