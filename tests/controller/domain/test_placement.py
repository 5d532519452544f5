"""Placements agree with the rule for one device, and account for every device."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.pipeline import Pipeline, Stage, Targets
from controller.domain.placement import Fleet, Reason, placements
from controller.domain.query import Described, matches
from controller.domain.selector import exclusion, formula_of
from protocol.ids import StageName, device_id

NAMES = tuple(device_id(f"d{n}") for n in range(8))
_ring = st.sampled_from(["a", "b"])
_some = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple)
_targets = st.builds(
    Targets,
    query=st.sampled_from(["", 'labels.ring == "a"', 'labels.ring != "b" || labels.city == "rome"']),
    groups=st.sampled_from([(), ("eu",), ("eu/rome", "us")]),
    labels=st.just({}) | st.builds(lambda ring: {"ring": ring}, _ring),
    devices=_some,
    exclude=_some,
    percent=st.sampled_from([0.0, 40.0, 100.0]),
)
_device = st.builds(
    lambda ring, groups: ({"ring": ring}, groups), _ring, st.sampled_from([(), ("eu",), ("eu/rome",), ("us",)])
)


@given(st.lists(_targets, min_size=1, max_size=3), st.lists(_device, min_size=8, max_size=8), st.data())
def test_a_stage_gets_what_the_rule_gives_it_and_no_earlier_one_has(
    targets: list[Targets], drawn: list[tuple[dict[str, str], tuple[str, ...]]], data: st.DataObject
) -> None:
    kiosks = {
        id_: Described(device=name, labels=labels, groups=frozenset(groups))
        for id_, (name, (labels, groups)) in enumerate(zip(NAMES, drawn, strict=True))
    }
    blocked, broken = (data.draw(st.sets(st.integers(0, 7), max_size=2)) for _ in range(2))
    fleet = Fleet(names=dict(enumerate(NAMES)), blocked=blocked, broken=broken)
    stages = tuple(Stage(name=StageName(f"s{n}"), targets=one) for n, one in enumerate(targets))

    def find(wanted: Targets) -> Iterable[int]:
        return [id_ for id_, kiosk in kiosks.items() if matches(formula_of(wanted), kiosk)]

    earlier: dict[int, StageName] = {}
    for placement in placements(Pipeline(name="p", stages=stages), fleet, find=find, salt="s"):
        left = [(id_, out.reason, out.stage) for out in placement.left_out for id_ in out.devices]
        why = {id_: (reason, stage) for id_, reason, stage in left}
        assert len(left) == len(why)
        for id_, kiosk in kiosks.items():
            rule = exclusion(placement.stage.targets, kiosk, salt="s")
            expected: tuple[Reason, StageName | None] | None = None
            if id_ in blocked | broken:
                expected = Reason.BLOCKED if id_ in blocked else Reason.BROKEN, None
            elif rule is not None:
                expected = Reason(rule.value), None
            elif id_ in earlier:
                expected = Reason.IN_STAGE, earlier[id_]
            assert why.get(id_) == expected
            assert (id_ in placement.members) is (expected is None)
        earlier |= dict.fromkeys(placement.members, placement.stage.name)
