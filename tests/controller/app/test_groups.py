"""Groups of devices, and who belongs to a stage by them or by a query."""

from typing import Any

import pytest

from controller.app import devices, groups, pipelines, system
from controller.app.access import Actor, Role
from controller.app.errors import Conflict, InvalidDefinition, InvalidRequest, NotAllowed, NotFound
from controller.domain.pipeline import Pace, Pipeline, Targets
from tests.controller.app.rig import Rig, stage

VIEWER = Actor(name="vic", role=Role.VIEWER)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", city="berlin")
    rig.enrol("c", city="paris")
    return rig


def tree(rig: Rig, **under: Any) -> list[tuple[str, int, int]]:
    return [(view.path, view.devices, view.devices_below) for view in rig.do(groups.list_groups, **under)]


def listed(rig: Rig, **filters: Any) -> list[str]:
    return [view.device for view in rig.do(devices.list_devices, labels={}, **filters).items]


def test_a_group_is_made_with_those_above_it_and_counted(rig: Rig) -> None:
    made = rig.do(groups.create, path="eu/berlin/shop-7")
    assert (made.path, made.devices) == ("eu/berlin/shop-7", 0)
    rig.do(groups.create, path="eu-2")
    assert rig.do(groups.add_devices, path="eu/berlin", devices=["a", "b"]).changed == 2
    assert rig.do(groups.add_devices, path="eu/berlin/shop-7", devices=["b"]).changed == 1
    assert rig.do(groups.add_devices, path="eu", devices=["b", "c"]).changed == 2
    expected = [("eu", 2, 3), ("eu/berlin", 2, 2), ("eu/berlin/shop-7", 1, 1), ("eu-2", 0, 0)]
    assert tree(rig) == expected
    assert tree(rig, under="eu/berlin") == expected[1:3]
    assert listed(rig, group="eu/berlin/shop-7") == ["b"]
    assert listed(rig, group="eu") == ["a", "b", "c"]
    assert listed(rig, group="eu", query='labels.city != "berlin"') == ["c"]


def test_members_are_named_or_found_and_counted_once(rig: Rig) -> None:
    rig.do(groups.create, path="eu")
    change = rig.do(groups.add_devices, path="eu", devices=["c"], query='labels.city == "berlin"')
    assert (change.found, change.changed) == (3, 3)
    change = rig.do(groups.add_devices, path="eu", query="true")
    assert (change.found, change.changed) == (3, 0)
    change = rig.do(groups.drop_devices, path="eu", devices=["a"], query='labels.city == "paris"')
    assert (change.found, change.changed) == (2, 2)
    assert listed(rig, group="eu") == ["b"]


def test_blocked_devices_are_members_like_others(rig: Rig) -> None:
    rig.do(groups.create, path="eu")
    rig.do(devices.block, device="a", reason="lost")
    assert rig.do(groups.add_devices, path="eu", query='labels.city == "berlin"').changed == 2


def test_a_group_that_is_not_empty_is_removed_only_recursively(rig: Rig) -> None:
    rig.do(groups.create, path="eu/berlin")
    with pytest.raises(Conflict, match="0 devices and 1 group below"):
        rig.do(groups.remove, path="eu")
    rig.do(groups.add_devices, path="eu/berlin", devices=["a"])
    with pytest.raises(Conflict, match="recursively"):
        rig.do(groups.remove, path="eu/berlin")
    rig.do(groups.create, path="eu-2")
    rig.do(groups.remove, path="eu", recursive=True)
    assert tree(rig) == [("eu-2", 0, 0)]
    rig.do(groups.remove, path="eu-2")
    rig.do(groups.create, path="eu/berlin")
    assert listed(rig, group="eu") == []


REFUSED: list[tuple[Any, dict[str, Any], type[Exception]]] = [
    (groups.create, {"path": "EU"}, InvalidRequest),
    (groups.create, {"path": "/".join("abcdefghi")}, InvalidRequest),
    (groups.create, {"path": "eu"}, Conflict),
    (groups.remove, {"path": "us"}, NotFound),
    (groups.list_groups, {"under": "us"}, NotFound),
    (groups.list_groups, {"under": "eu/"}, InvalidRequest),
    (groups.add_devices, {"path": "us", "devices": ["a"]}, NotFound),
    (groups.add_devices, {"path": "eu", "devices": ["a", "nobody"]}, NotFound),
    (groups.add_devices, {"path": "eu"}, InvalidRequest),
    (groups.add_devices, {"path": "eu", "query": "labels.a = 5"}, InvalidRequest),
    (groups.add_devices, {"path": "eu", "devices": ["a"] * 5_001}, InvalidRequest),
    (groups.drop_devices, {"path": "eu", "query": ""}, InvalidRequest),
]


@pytest.mark.parametrize(("use_case", "arguments", "error"), REFUSED)
def test_what_cannot_be_done_changes_nothing(
    rig: Rig, use_case: Any, arguments: dict[str, Any], error: type[Exception]
) -> None:
    rig.do(groups.create, path="eu")
    with pytest.raises(error):
        rig.do(use_case, **arguments)
    assert tree(rig) == [("eu", 0, 0)]


def test_there_is_a_limit_to_groups(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUPS_MAX", 3)
    rig.do(groups.create, path="eu/berlin")
    with pytest.raises(InvalidRequest, match="more than 3 groups"):
        rig.do(groups.create, path="us/nyc")


def test_every_change_is_audited_and_takes_a_permission(rig: Rig) -> None:
    rig.do(groups.create, path="eu")
    rig.do(groups.add_devices, path="eu", devices=["b", "a"], query='labels.city == "paris"')
    rig.do(groups.drop_devices, path="eu", query="true")
    rig.do(groups.remove, path="eu")
    entries = [(entry.verb, entry.subject, entry.reason) for entry in rig.do(system.audit)]
    assert entries[-4:] == [
        ("group.create", "eu", ""),
        ("group.add", "eu", 'a, b; labels.city == "paris": 3 changed'),
        ("group.drop", "eu", "true: 3 changed"),
        ("group.remove", "eu", ""),
    ]
    assert rig.do(groups.list_groups, actor=VIEWER) == ()
    for act in (groups.create, groups.remove, groups.add_devices, groups.drop_devices):
        with pytest.raises(NotAllowed):
            rig.do(act, actor=VIEWER, path="eu")


def test_lists_refuse_what_is_no_query_and_no_group(rig: Rig) -> None:
    with pytest.raises(InvalidRequest, match="query 1:7: found '=', expected"):
        listed(rig, query='model = "k1"')
    with pytest.raises(InvalidRequest, match="expected 1 to 63"):
        listed(rig, group="eu//berlin")


# --- stages -------------------------------------------------------------------------------------------------------


def test_a_stage_takes_whom_its_query_and_groups_mean_when_it_opens(rig: Rig) -> None:
    rig.do(groups.create, path="eu/berlin")
    rig.do(groups.add_devices, path="eu/berlin", devices=["a", "c"])
    wanted = Targets(query='labels.city == "berlin" || labels.city == "paris"', groups=("eu",), exclude=())
    run = rig.start(stage(targets=wanted, pace=Pace(max_in_flight=9)))
    assert rig.counters(run) == {"queued": 2}
    rig.do(groups.add_devices, path="eu/berlin", devices=["b"])
    assert rig.counters(run) == {"queued": 2}, "membership is frozen"


def test_a_later_stage_asks_what_is_installed_by_then(rig: Rig) -> None:
    rig.connect("a", "b")
    old = '!(app("shop").version >= "1.0.0")'
    run = rig.start(
        stage("first", targets=Targets(labels={"city": "berlin"}, percent=100)),
        stage("rest", needs=("first",), targets=Targets(query=old)),
    )
    rig.succeed("a", "b")
    assert rig.counters(run, 0) == {"succeeded": 2}
    assert rig.counters(run, 1) == {"queued": 1}
    assert listed(rig, query=old) == ["c"]


def test_a_pipeline_with_a_faulty_query_is_refused_with_its_place(rig: Rig) -> None:
    wanted = Targets(query='labels.region == "eu" and true', groups=("EU",))
    with pytest.raises(InvalidDefinition) as caught:
        rig.do(pipelines.apply, definition=Pipeline(name="p", stages=(stage(targets=wanted),)))
    one, other = caught.value.faults
    assert (one.place, other.place) == ("stages[0].targets.query", "stages[0].targets.groups[0]")
    assert one.message.startswith("query 1:23: found 'and', expected '&&', '||' or the end of the query; write '&&'")
