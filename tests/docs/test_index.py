"""The index, the glossary and the code map are whole, and name nothing that is not there."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from controller.domain.states import RunState, StageState
from controller.domain.target import TargetState
from protocol.lifecycle import AttemptState
from tests.docs.test_links import ROOT, links_of

DOCS: Final = ROOT / "docs"
GLOSSARY: Final = (DOCS / "glossary.md").read_text()
CODE_MAP: Final = (DOCS / "code-map.md").read_text()
IN_AN_INDEX_OF_ITS_OWN: Final = "adr"
MAPPED: Final = {
    "protocol": ("protocol",),
    "agent": ("agent", "agent/core"),
    "controller": ("controller", "controller/app", "controller/domain", "controller/documents"),
    "simulator": ("simulator", "simulator/demo", "simulator/virtual"),
}


def test_every_page_is_in_the_index() -> None:
    linked = {target for target, _ in links_of(DOCS / "README.md")}
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name != IN_AN_INDEX_OF_ITS_OWN}
    assert pages - linked == {DOCS / "README.md"}


def test_the_glossary_defines_no_word_twice() -> None:
    words = Counter(re.findall(r"^- (\*\*.+?\*\*(?: \(.+?\))?)", GLOSSARY, re.MULTILINE))
    assert len(words) > 100
    assert [word for word, count in words.items() if count > 1] == []


@pytest.mark.parametrize(
    ("what", "states"),
    [("run", RunState), ("stage", StageState), ("TargetRun", TargetState), ("attempt", AttemptState)],
    ids=str,
)
def test_the_glossary_lists_the_states_that_there_are(what: str, states: type[RunState]) -> None:
    [listed] = re.findall(rf"^States of an? \*\*{what}\*\*.*?: (.*?)(?:\n\n|\n\*)", GLOSSARY, re.MULTILINE | re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == [state.value for state in states]


def named() -> Iterator[tuple[str, str, str]]:
    """Return what the first columns of the code map name: the package, the folder that was named last, and the name."""
    for section in re.split(r"^## ", CODE_MAP, flags=re.MULTILINE)[1:]:
        package = section.partition(":")[0].split()[0]
        for cell in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) if package in MAPPED else ():
            folder = ""
            for name in re.findall(r"`([\w/]+)`", cell):
                folder = name.rpartition("/")[0] if "/" in name else folder
                yield package, folder, name


@pytest.mark.parametrize(("package", "within", "name"), sorted(set(named())), ids=str)
def test_what_the_code_map_names_is_there(package: str, within: str, name: str) -> None:
    places = [ROOT / folder / path for folder in MAPPED[package] for path in (name, f"{within}/{name}")]
    assert any(place.is_dir() or place.with_suffix(".py").exists() for place in places)


def modules() -> Iterator[Path]:
    """Return the modules and folders that the code map is to name."""
    for folders in MAPPED.values():
        for folder in folders:
            found = (
                path for path in (ROOT / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
            )
            yield from (path for path in found if not path.name.startswith("__"))


def test_no_module_is_missing_from_the_code_map() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", CODE_MAP))))
    assert sorted(str(path.relative_to(ROOT)) for path in modules() if path.stem not in words) == []
