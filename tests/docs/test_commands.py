"""The commands that the documentation tells people to type exist, with the options that it gives them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from controller.cli.app import build
from tests.docs.test_links import PAGES, ROOT

ROOT_COMMAND: Final[Any] = typer.main.get_command(build())

_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND: Final = re.compile(r"(?:^|\$\(|; )(tidegate (?!-)[^)|]*)")


def commands_of(page: Path) -> Iterator[str]:
    """Return what follows `tidegate` wherever the page has it in a block for the shell."""
    for block in _BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            found = _COMMAND.search(line.partition(" #")[0])
            if found:
                yield found[1]


COMMANDS: Final = [(page, command) for page in PAGES for command in commands_of(page)]


def test_there_are_commands_to_look_at() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize(
    ("page", "command"), COMMANDS, ids=[f"{page.relative_to(ROOT)}: {command}"[:80] for page, command in COMMANDS]
)
def test_a_command_exists_with_its_options(page: Path, command: str) -> None:
    words = shlex.split(command)[1:]
    found = ROOT_COMMAND
    while hasattr(found, "commands"):
        assert words[0] in found.commands, f"{page}: 'tidegate {words[0]}' is no command"
        found = found.commands[words.pop(0)]
    context = found.context_class(found, info_name="tidegate")
    found.make_parser(context).parse_args(args=words)
