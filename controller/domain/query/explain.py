"""Why a device does not match a query: the part that fails, and what the device has instead.

>>> from controller.domain.query.described import Described
>>> from controller.domain.query.parser import parse
>>> wanted = parse('labels.region == "eu" && has(app("shop"))')
>>> explain(wanted, Described(device="k", labels={"region": "us"}))
'labels.region == "eu" does not hold: labels.region is us'
>>> explain(wanted, Described(device="k", labels={"region": "eu"}))
'has(app("shop")) does not hold: there is no app("shop").version'
"""

from controller.domain.query.described import Described
from controller.domain.query.evaluate import matches, texts_of
from controller.domain.query.render import field_text, render
from controller.domain.query.tree import And, Call, Compare, Formula, Has, In, InGroup, Not


def explain(formula: Formula, device: Described) -> str:
    """Return why *formula* does not hold for *device*; it must not.

    Of a conjunction the first part that fails is shown; a disjunction is shown whole, since any part would do.
    """
    part = _failing(formula, device)
    return f"{render(part)} does not hold{_instead(part, device)}"


def _failing(formula: Formula, device: Described) -> Formula:
    if isinstance(formula, And):
        return _failing(next(part for part in formula.parts if not matches(part, device)), device)
    return formula


def _instead(part: Formula, device: Described) -> str:
    """Return what the device has of what is asked about, where one thing is."""
    match part:
        case Not():
            return _instead(part.part, device)
        case Compare() | In() | Call() | Has():
            name, texts = field_text(part.field), texts_of(part.field, device)
            return f": {name} is {', '.join(texts)}" if texts else f": there is no {name}"
        case InGroup():
            groups = ", ".join(sorted(device.groups))
            return f": its groups are {groups}" if groups else ": it is in no group"
        case _:
            return ""
