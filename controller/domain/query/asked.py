"""Which facts a query asks about.

>>> from controller.domain.query.parser import parse
>>> facts_needed(parse("facts.battery >= 20 && (!has(facts.metered) || facts.metered == false)"))
('battery',)
"""

from collections.abc import Iterator

from controller.domain.query.tree import And, Call, Compare, Constant, Fact, Formula, Has, In, InGroup, Not, Or


def facts_needed(formula: Formula) -> tuple[str, ...]:
    """Return the keys of the facts that a query asks about and nowhere asks whether they are there, each once."""
    parts = tuple(_leaves(formula))
    asked = [part.field.key for part in parts if not isinstance(part, Has) and isinstance(part.field, Fact)]
    excused = {part.field.key for part in parts if isinstance(part, Has) and isinstance(part.field, Fact)}
    return tuple(key for key in dict.fromkeys(asked) if key not in excused)


def _leaves(formula: Formula) -> Iterator[Compare | In | Call | Has]:
    match formula:
        case Not():
            yield from _leaves(formula.part)
        case And() | Or():
            for part in formula.parts:
                yield from _leaves(part)
        case InGroup() | Constant():
            return
        case _:
            yield formula
