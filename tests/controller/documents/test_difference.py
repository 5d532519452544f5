"""Differences of definitions: as data, as text, in one line."""

from typing import Any

import pytest

from controller.documents import Kind, as_text, difference, in_one_line, load_one
from controller.documents.difference import Change, Difference, Edge
from controller.documents.load import Definition

BEFORE = """
name: shop
stages:
- {name: canary, targets: {labels: {ring: canary}}}
- {name: eu, needs: [canary], gate: {soak: 1h}}
- {name: rest, needs: [eu]}
"""


def pipeline(text: str) -> Definition:
    return load_one(text, Kind.PIPELINE)


CASES: dict[str, tuple[str, str, Difference, str]] = {
    "nothing": ("", "", Difference(), "nothing"),
    "a stage more": (
        "- {name: rest, needs: [eu]}",
        "- {name: us, needs: [canary]}\n- {name: rest, needs: [eu, us]}",
        Difference(
            stages_added=("us",), edges_added=(Edge(stage="us", needs="canary"), Edge(stage="rest", needs="us"))
        ),
        "added stage us; rest needs us",
    ),
    "a stage less": (
        "- {name: rest, needs: [eu]}",
        "",
        Difference(stages_removed=("rest",), edges_removed=(Edge(stage="rest", needs="eu"),)),
        "removed stage rest",
    ),
    "an edge": (
        "needs: [eu]",
        "needs: [canary]",
        Difference(edges_added=(Edge(stage="rest", needs="canary"),), edges_removed=(Edge(stage="rest", needs="eu"),)),
        "rest needs canary; rest needs eu no more",
    ),
    "fields": (
        "soak: 1h",
        "soak: 2h, success: 99%",
        Difference(
            changed=(
                Change(place="stages.eu.gate.soak", old="1h", new="2h"),
                Change(place="stages.eu.gate.success", old=None, new="99%"),
            )
        ),
        "eu: gate.soak 1h → 2h; eu: gate.success default → 99%",
    ),
    "a rate that grows": (
        "gate: {soak: 1h}",
        "gate: {soak: 1h}, pace: {per_minute: {start: 1, factor: 2, every: 3, max: 4}}",
        Difference(
            changed=(
                Change(place="stages.eu.pace.per_minute.start", old=None, new=1),
                Change(place="stages.eu.pace.per_minute.factor", old=None, new=2.0),
                Change(place="stages.eu.pace.per_minute.every", old=None, new=3),
                Change(place="stages.eu.pace.per_minute.max", old=None, new=4),
            )
        ),
        (
            "eu: pace.per_minute.start default → 1; eu: pace.per_minute.factor default → 2.0; "
            "eu: pace.per_minute.every default → 3; and 1 more"
        ),
    ),
    "a field of all": (
        "name: shop",
        "name: shop\ntimeout: 2d",
        Difference(changed=(Change(place="timeout", old=None, new="2d"),)),
        "timeout default → 2d",
    ),
    "a label": (
        "ring: canary",
        "ring: one, region: eu",
        Difference(
            changed=(
                Change(place="stages.canary.targets.labels.ring", old="canary", new="one"),
                Change(place="stages.canary.targets.labels.region", old=None, new="eu"),
            )
        ),
        "canary: targets.labels.ring canary → one; canary: targets.labels.region default → eu",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_different_is_told(case: tuple[str, str, Difference, str]) -> None:
    old, new, expected, line = case
    found = difference(pipeline(BEFORE), pipeline(BEFORE.replace(old, new) if old else BEFORE))
    assert found == expected
    assert in_one_line(found) == line
    assert found.is_empty is (old == new)


def test_another_order_alone_is_told() -> None:
    lines = BEFORE.splitlines()
    found = difference(pipeline(BEFORE), pipeline("\n".join([*lines[:4], lines[5], lines[4]])))
    assert (found.is_reordered, in_one_line(found)) == (True, "other order of stages")


def test_a_long_list_of_changes_is_cut() -> None:
    stages = "\n".join(f"- {{name: s{n}, pace: {{max_in_flight: 5}}}}" for n in range(6))
    before = pipeline(f"name: shop\nstages:\n{stages}")
    after = pipeline(f"name: shop\nstages:\n{stages.replace('5}', '6}')}")
    assert in_one_line(difference(before, after)).endswith("s2: pace.max_in_flight 5 → 6; and 3 more")
    assert in_one_line(difference(None, after)) == "added stages s0, s1, s2 and 3 more"


def test_the_text_is_a_unified_diff_of_the_files() -> None:
    after = pipeline(BEFORE.replace("1h", "2h"))
    lines = as_text(pipeline(BEFORE), after, old="shop@1", new="shop@2").splitlines()
    assert lines[:2] == ["--- shop@1", "+++ shop@2"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-    soak: 1h", "+    soak: 2h"]
    assert as_text(after, after, old="a", new="b") == ""
    assert all(line.startswith("+") for line in as_text(None, after, old="a", new="b").splitlines()[3:])


def test_jobs_are_compared_too() -> None:
    job: Any = {"name": "j", "pipeline": "p", "operation": {"app": "shop", "version": "1"}}
    before = load_one(str(job).replace("'", '"'), Kind.JOB)
    after = load_one(str({**job, "priority": 3}).replace("'", '"'), Kind.JOB)
    assert in_one_line(difference(before, after)) == "priority default → 3"


def test_pipelines_with_parameters_are_compared_as_they_are_written_and_stay_as_they_are() -> None:
    text = "name: shop\nparameters: {n: {type: int}}\nstages: [{name: all, needs: [], pace: {max_in_flight: '${n}'}}]"
    before, after = pipeline(text), pipeline(text.replace("'${n}'}}", "'${n}'}, gate: {soak: 1h}}"))
    for _ in range(2):
        assert in_one_line(difference(before, after)) == "all: gate.soak default → 1h"
    assert before == pipeline(text)
