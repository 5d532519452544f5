"""Queries over devices as SQL: `controller.domain.query.evaluate` with indexes.

Each comparison becomes ``device.id IN (SELECT device_id …)`` over the rows kept for it, by index: equality, order,
`startsWith` and `in` of labels, facts and versions, ``has``, and groups with all below them. A conjunction searches by
one of its parts and checks the others; a disjunction of such parts searches by each.

Some forms have to look at every device: a negation (and so ``!=``) that stands alone or beside others of its kind,
`endsWith` and `contains` of ``model`` and ``device``, and a disjunction with one of these. `endsWith` and `contains` of
a label, fact or version look at all devices that have it.
"""

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt
from typing import Any, Final, assert_never

import sqlalchemy as sa

from controller.domain.group import AFTER_SEPARATOR, SEPARATOR
from controller.domain.query.evaluate import word_of
from controller.domain.query.tree import (
    Agent,
    And,
    AppVersion,
    Call,
    Compare,
    Constant,
    DeviceName,
    Fact,
    Field,
    Formula,
    Has,
    In,
    InGroup,
    Label,
    Method,
    Model,
    Not,
    Operator,
    Or,
    Value,
)
from controller.domain.query.versions import version_key
from controller.store.tables import AGENT, device, device_app, device_fact, device_group, device_label

Condition = sa.ColumnElement[bool]
Column = sa.ColumnElement[Any]

COMPARE: Final[Mapping[Operator, Callable[[Any, Any], Condition]]] = {
    Operator.EQUAL: eq,
    Operator.LESS: lt,
    Operator.LESS_OR_EQUAL: le,
    Operator.GREATER: gt,
    Operator.GREATER_OR_EQUAL: ge,
}
_CODE_MAX: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_app = device_app.c
_group = device_group.c


def condition(formula: Formula) -> Condition:
    """Return the condition on `device` that *formula* holds."""
    match formula:
        case Compare():
            return _where(formula.field, lambda columns: columns.compare(formula.operator, formula.value))
        case In():
            return _where(formula.field, lambda columns: columns.is_one_of(formula.values))
        case Call():
            return _where(formula.field, lambda columns: _asked(columns.text, formula.method, formula.text))
        case Has():
            return _where(formula.field, lambda _: sa.true())
        case InGroup():
            return device.c.id.in_(sa.select(_group.device_id).where(is_within(_group.path, formula.path)))
        case Constant():
            return sa.true() if formula.value else sa.false()
        case Not():
            return sa.not_(condition(formula.part))
        case And():
            return sa.and_(*map(condition, formula.parts))
        case Or():
            return sa.or_(*map(condition, formula.parts))
        case _:
            assert_never(formula)


def is_within(path: Column, group: str | Column) -> Condition:
    """Return the condition that *path* is that *group* or lies below it, as two ranges of an index."""
    below, behind = sa.literal(SEPARATOR), sa.literal(AFTER_SEPARATOR)
    of = sa.literal(group) if isinstance(group, str) else group
    return sa.or_(path == of, sa.and_(path >= of + below, path < of + behind))


class _Columns:
    """What a field is compared by: its text, its order where that is another, and its number where it may be one."""

    def __init__(self, text: Column, *, key: Column | None = None, number: Column | None = None) -> None:
        self.text = text
        self._key = key
        self._number = number

    def compare(self, operator: Operator, value: Value) -> Condition:
        """Return the condition that the field compares so with a value."""
        column, sought = self._side(value)
        return COMPARE[operator](column, sought)

    def is_one_of(self, values: tuple[Value, ...]) -> Condition:
        """Return the condition that the field equals one of the values."""
        sides = [self._side(value) for value in values]
        texts = [(column, sought) for column, sought in sides if isinstance(sought, str)]
        numbers = [(column, sought) for column, sought in sides if isinstance(sought, int)]
        among = [found[0][0].in_([sought for _, sought in found]) for found in (texts, numbers) if found]
        return sa.or_(sa.false(), *among)

    def _side(self, value: Value) -> tuple[Column, str | int]:
        """Return the column that is compared with a value, and what stands for the value there."""
        if isinstance(value, bool):
            value = word_of(value)
        if isinstance(value, int):
            assert self._number is not None, "the parser lets no number stand beside what is never one"
            return self._number, value
        return (self.text, value) if self._key is None else (self._key, version_key(value))


def _where(field: Field, test: Callable[[_Columns], Condition]) -> Condition:
    match field:
        case Label() | Fact():
            entries = (device_label if isinstance(field, Label) else device_fact).c
            columns = _Columns(entries.value, number=entries.number)
            return _holders(entries.device_id, entries.key == field.key, test(columns))
        case Agent() | AppVersion():
            name = AGENT if isinstance(field, Agent) else field.app
            return _holders(_app.device_id, _app.app == name, test(_Columns(_app.version, key=_app.version_key)))
        case Model():
            return test(_Columns(device.c.model))
        case DeviceName():
            return test(_Columns(device.c.device))
        case _:
            assert_never(field)


def _holders(device_id: Column, *where: Condition) -> Condition:
    return device.c.id.in_(sa.select(device_id).where(*where))


def _asked(column: Column, method: Method, text: str) -> Condition:
    match method:
        case Method.STARTS_WITH:
            end = _after(text)
            return column >= text if end is None else sa.and_(column >= text, column < end)
        case Method.ENDS_WITH:
            # By bytes: SQLite's functions on text stop at its first NUL.
            suffix = text.encode()
            whole, part = sa.cast(column, sa.LargeBinary), sa.literal(suffix, sa.LargeBinary)
            return sa.func.substr(whole, -len(suffix)) == part if suffix else sa.true()
        case Method.CONTAINS:
            return sa.func.instr(sa.cast(column, sa.LargeBinary), sa.literal(text.encode(), sa.LargeBinary)) > 0
        case _:
            assert_never(method)


def _after(prefix: str) -> str | None:
    """Return the least text that sorts after all that begin with *prefix*, or None where there is none.

    >>> _after("eu"), _after(chr(_CODE_MAX))
    ('ev', None)
    """
    kept = prefix.rstrip(chr(_CODE_MAX))
    if not kept:
        return None
    code = ord(kept[-1]) + 1
    return kept[:-1] + chr(_SURROGATES.stop if code in _SURROGATES else code)
