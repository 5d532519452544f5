"""Who may begin, and why not."""

from datetime import UTC
from typing import Any

import msgspec
import pytest

from controller.domain import query
from controller.domain.admission import Applicant, BlockReason, Hold, Pin, Restraints, Rules, UpgradePath, judge
from controller.domain.pipeline import PerSite
from controller.domain.query import Described
from controller.domain.window import Window
from protocol.units import HOUR, Instant

NOON = Instant(12 * HOUR)
RULES = Rules(app="shop", version="2.1")
KIOSK = Applicant(
    described=Described(device="kiosk-1", model="k1", facts={"battery": "50"}, apps=(("shop", "1.4"), ("till", "9")))
)
PATH = UpgradePath(reason="the database moves")


def held(**changes: Any) -> Restraints:
    return Restraints(hold=Hold(by="ann", reason="fair", **changes))


def pinned(versions: str, app: str = "shop") -> Restraints:
    return Restraints(pins=(Pin(app=app, versions=versions, by="bob", reason="audit"),))


Case = tuple[dict[str, Any], dict[str, Any], tuple[str, str, int | None] | None]
"""What the device is, what the rules are, and the reason, its words and when to ask again."""

CASES: list[Case] = [
    ({}, {}, None),
    ({"restraints": held()}, {}, ("held", "held by ann: fair", None)),
    ({"restraints": held(until=Instant(NOON + 1))}, {}, ("held", "held by ann: fair", NOON + 1)),
    ({"restraints": held(until=NOON)}, {}, None),
    ({"restraints": pinned("<2")}, {}, ("pinned", "shop is pinned to <2 by bob: audit", None)),
    ({"restraints": pinned(">=2")}, {}, None),
    ({"restraints": pinned("<2", "till")}, {}, None),
    (
        {"capabilities": frozenset({"install"})},
        {"requires": ("install", "delta")},
        ("not_capable", "its agent cannot do what the operation needs: delta", None),
    ),
    ({"capabilities": frozenset({"delta"})}, {"requires": ("delta",)}, None),
    ({}, {"path": msgspec.structs.replace(PATH, allowed=">=1.2")}, None),
    (
        {},
        {"path": msgspec.structs.replace(PATH, allowed=">=1.5")},
        ("no_path", "not from 1.4, only from >=1.5: the database moves", None),
    ),
    (
        {},
        {"path": msgspec.structs.replace(PATH, forbidden="1.4.*")},
        ("no_path", "not from 1.4: the database moves", None),
    ),
    ({}, {"path": msgspec.structs.replace(PATH, forbidden="1.3.*")}, None),
    (
        {},
        {"path": msgspec.structs.replace(PATH, through=("1.3", "2.0"))},
        ("no_path", "from 1.4 only through 2.0: the database moves", None),
    ),
    ({}, {"app": "new", "path": msgspec.structs.replace(PATH, allowed=">=1.5", through=("2.0",))}, None),
    ({}, {"preconditions": "facts.battery >= 20"}, None),
    (
        {},
        {"preconditions": "facts.battery >= 80"},
        ("precondition", "it may begin only where facts.battery >= 80", None),
    ),
    (
        {},
        {"preconditions": "!(facts.metered == true)"},
        ("precondition", "it has not reported metered, and may begin only where !(facts.metered == true)", None),
    ),
    ({}, {"preconditions": "!has(facts.metered) || facts.metered == false"}, None),
    ({"zone": UTC, "zone_name": "UTC"}, {"windows": (Window(begin=720, end=721),)}, None),
    (
        {"zone": UTC, "zone_name": "UTC"},
        {"windows": (Window(begin=780, end=840),)},
        ("window_closed", "it may begin only every day 13:00 to 14:00 in UTC", NOON + HOUR),
    ),
    (
        {"zone": None, "zone_name": "Mars"},
        {"windows": (Window(begin=0, end=1440),)},
        ("window_closed", "its time zone 'Mars' is not known", None),
    ),
    ({"site": "s7", "at_site": 1}, {"per_site": PerSite(label="store", max=2)}, None),
    (
        {"site": "s7", "at_site": 2},
        {"per_site": PerSite(label="store", max=2)},
        ("site_full", "2 of at most 2 devices are at work where store is s7", None),
    ),
    ({"site": "", "at_site": 9}, {"per_site": PerSite(label="store", max=2)}, None),
    (
        {"restraints": held(), "site": "s7", "at_site": 2},
        {"per_site": PerSite(label="store", max=2)},
        ("held", "held by ann: fair", None),
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_the_first_rule_that_a_device_breaks_is_why_it_waits(case: Case) -> None:
    device, rules, expected = case
    found = judge(msgspec.structs.replace(KIOSK, **device), msgspec.structs.replace(RULES, **rules), NOON)
    assert (found and (found.reason.value, found.text, found.check_at)) == expected


def test_every_reason_has_a_case() -> None:
    assert {expected[0] for _, _, expected in CASES if expected} == set(BlockReason)


def test_rules_that_ask_nothing_are_empty() -> None:
    assert RULES.is_empty
    assert not msgspec.structs.replace(RULES, path=PATH).is_empty


def test_facts_that_are_excused_need_not_be_reported() -> None:
    text = 'facts.a == "1" || (facts.b < 3 && has(facts.b)) && group("eu") && true && facts.c in ["x"] && model == "k"'
    assert query.facts_needed(query.parse(text)) == ("a", "c")
    assert query.facts_needed(query.parse('!(facts.d.startsWith("x")) && has(labels.e)')) == ("d",)
