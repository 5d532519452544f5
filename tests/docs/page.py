"""The pages of which parts are made from code and from other files: what stands between their marks is made here.

```
<!-- fields Ack -->            from the mark on, up to its end, the table of the fields of `Ack`
…
<!-- end -->
```

``python -m tests.docs.page``, which `make docs` calls, writes the pages anew, and the pictures.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from protocol.envelope import pae
from tests.conformance.vectors import load
from tests.docs import blame, definitions, machines, plots, tables

MESSAGES: Final = tables.FOLDER / "messages.md"
DOCS: Final = tables.FOLDER.parent
PAGES: Final = (
    *(tables.FOLDER / f"{name}.md" for name in ("messages", "pipeline", "reasons", "states")),
    DOCS / "how-to" / "connect-ci.md",
)
PART: Final = re.compile(r"<!-- (?P<maker>[a-z-]+)(?: (?P<what>[\w./-]+))? -->\n.*?<!-- end -->", re.DOTALL)


def fenced(text: str, language: str = "text") -> str:
    """Return *text* as a block."""
    return f"```{language}\n{text}\n```"


def message(name: str) -> str:
    """Return the golden message of that name, spread over lines."""
    found = next(vector["json"] for vector in load("messages") if vector["name"] == name)
    return fenced(json.dumps(json.loads(found), indent=2, ensure_ascii=False).replace("\u2028", r"\u2028"), "json")


def envelope(name: str) -> str:
    """Return how the golden message of that name is signed, step by step."""
    vectors = load("envelopes")
    found: Mapping[str, Any] = next(vector for vector in vectors["envelopes"] if vector["name"] == name)
    payload = b64decode(found["payload_base64"])
    steps = {
        "The payload": payload.decode(),
        "Its SHA-256, the digest of the message": found["payload_sha256"],
        "What is signed": pae(found["payload_type"], payload).decode(),
        "The secret key (RFC 8032, section 7.1, test 1: for tests alone)": vectors["secret_hex"],
        "Its public key": vectors["public_hex"],
        "The key id": vectors["keyid"],
        "The signature": found["signature_hex"],
        "The envelope": found["envelope"],
    }
    return "\n\n".join(f"{what}:\n\n{fenced(text)}" for what, text in steps.items())


def file(path: str) -> str:
    """Return a file of the repository, by its path there, as a block."""
    found = DOCS.parent / path
    return fenced(found.read_text().rstrip(), found.suffix.removeprefix(".") or "sh")


def document(name: str) -> str:
    """Return the golden TUF document of that name, spread over lines."""
    return fenced(json.dumps(load("documents")[name], indent=2))


def partitions(_: str) -> str:
    """Return names and their partitions."""
    rows = [(f"`{vector['name']}`", str(vector["partition"])) for vector in load("partitions")[:-1]]
    return tables.table(("name", "partition"), rows)


MAKERS: Final[Mapping[str, Callable[[str], str]]] = {
    "fields": tables.fields,
    "message": message,
    "document": document,
    "envelope": envelope,
    "partitions": partitions,
    "reject-codes": lambda _: tables.reject_codes(),
    "reasons": lambda _: tables.reasons(),
    "states": lambda _: tables.states(),
    "payload-types": lambda _: tables.payload_types(),
    "definitions": definitions.all_fields,
    "diagram": machines.diagram,
    "states-of": machines.states,
    "steps-of": machines.steps,
    "blamed": blame.blamed,
    "file": file,
    "refusals": lambda _: blame.refusals(),
}


def made(text: str) -> str:
    """Return the page with every part made anew."""

    def part(match: re.Match[str]) -> str:
        first = match[0].partition("\n")[0]
        return f"{first}\n\n{MAKERS[match['maker']](match['what'] or '')}\n\n<!-- end -->"

    return PART.sub(part, text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(made(page.read_text()))
    plots.write(plots.FOLDER)
