"""A tree as the one text that means it; parsing that text gives the same tree.

>>> from controller.domain.query.parser import parse
>>> render(parse("!(labels['region']=='eu')||( model  in['k1'] )"))
'labels.region != "eu" || model in ["k1"]'
"""

import re
from typing import Final, assert_never

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
    Model,
    Not,
    Operator,
    Or,
    Value,
)

RESERVED: Final = frozenset(
    (
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        *("namespace", "null", "package", "return", "true", "var", "void", "while"),
    )
)
"""Words that CEL keeps for itself; a key that is one stands in quotes."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL: Final = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u2028\u2029]')


def render(formula: Formula) -> str:
    """Return the canonical text of a tree."""
    match formula:
        case Compare():
            return f"{field_text(formula.field)} {formula.operator} {_literal(formula.value)}"
        case In():
            return f"{field_text(formula.field)} in [{', '.join(map(_literal, formula.values))}]"
        case Call():
            return f"{field_text(formula.field)}.{formula.method}({quoted(formula.text)})"
        case Has(field=AppVersion(app=app)):
            return f"has(app({quoted(app)}))"
        case Has():
            return f"has({field_text(formula.field)})"
        case InGroup():
            return f"group({quoted(formula.path)})"
        case Constant():
            return _literal(formula.value)
        case Not():
            return _negation(formula.part)
        case And():
            return " && ".join(_operand(part, And, Or) for part in formula.parts)
        case Or():
            return " || ".join(_operand(part, Or) for part in formula.parts)
        case _:
            assert_never(formula)


def field_text(field: Field) -> str:
    """Return a field as it is written."""
    match field:
        case Label():
            return f"labels{_key(field.key)}"
        case Fact():
            return f"facts{_key(field.key)}"
        case Model():
            return "model"
        case DeviceName():
            return "device"
        case Agent():
            return "agent"
        case AppVersion():
            return f"app({quoted(field.app)}).version"
        case _:
            assert_never(field)


def quoted(text: str) -> str:
    r"""Return a text between quotes.

    >>> print(quoted('say "ü"' + chr(10)))
    "say \"ü\"\u000a"
    """
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in {'"', "\\"} else f"\\u{ord(found[0]):04x}"


def _key(key: str) -> str:
    return f".{key}" if _PLAIN_KEY.fullmatch(key) and key not in RESERVED else f"[{quoted(key)}]"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quoted(value)


def _negation(part: Formula) -> str:
    if isinstance(part, Compare) and part.operator is Operator.EQUAL:
        return f"{field_text(part.field)} != {_literal(part.value)}"
    is_unequal = isinstance(part, Not) and isinstance(part.part, Compare) and part.part.operator is Operator.EQUAL
    return f"!{_in_parentheses(part)}" if is_unequal else f"!{_operand(part, And, Or, Compare, In)}"


def _operand(part: Formula, *looser: type[Formula]) -> str:
    """Return a part as an operand, in parentheses where it is of a kind that binds no tighter."""
    return _in_parentheses(part) if isinstance(part, looser) else render(part)


def _in_parentheses(part: Formula) -> str:
    return f"({render(part)})"
