"""A query's text to its tree, by recursive descent; precedence is that of CEL.

```
formula    = all { "||" all }
all        = one { "&&" one }
one        = { "!" } ( "(" formula ")" | "true" | "false" | has | group | test )
has        = "has" "(" ( field | app ) ")"
group      = "group" "(" text ")"
test       = field "." method "(" text ")" | field operator value | value operator field | field "in" list
field      = ( "labels" | "facts" ) ( "." name | "[" text "]" ) | "model" | "device" | "agent" | app "." "version"
app        = "app" "(" text ")"
```
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NoReturn, TypeVar

from controller.domain.group import parse_path
from controller.domain.hints import did_you_mean
from controller.domain.query.errors import BeyondLimit, InvalidQuery, MisplacedValue, NotAQuery, UnknownName
from controller.domain.query.lexer import Kind, Token, integer_of, tokens
from controller.domain.query.render import RESERVED, field_text, quoted
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
from protocol.errors import InvalidName

T = TypeVar("T")

DEPTH_MAX: Final = 32
"""Of parentheses and negations within each other."""
NODES_MAX: Final = 256
"""Of comparisons, questions, negations and connections."""
LIST_MAX: Final = 200
CACHED_MAX: Final = 256

_TRUTHS: Final = {"true": True, "false": False}
_MAPS: Final[Mapping[str, Callable[[str], Label | Fact]]] = {"labels": Label, "facts": Fact}
_SIMPLE: Final[Mapping[str, Field]] = {"model": Model(), "device": DeviceName(), "agent": Agent()}
_KNOWN: Final = ("agent", "app", "device", "facts", "group", "has", "labels", "model")
_CONNECTIVES: Final = {"and": "'&&'", "or": "'||'", "not": "'!'"}
_UNEQUAL: Final = "!="
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS: Final = (*Operator, _UNEQUAL)
_FORMULA: Final = "a comparison, has(…), group(…) or '('"


@lru_cache(CACHED_MAX)
def parse(text: str) -> Formula:
    """Return the tree of a query.

    Raises:
        InvalidQuery: when *text* is none, with the line and column of the first fault.
    """
    return _Parser(tokens(text)).whole()


class _Parser:
    """One token ahead is enough."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0
        self._node_count = 0

    def whole(self) -> Formula:
        """Return the tree of all tokens."""
        formula = self._formula()
        if self._here.kind is not Kind.END:
            self._fail("'&&', '||' or the end of the query")
        return formula

    # --- tokens -------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._here
        self._at += 1
        return token

    def _takes(self, sign: str) -> bool:
        """Step over a sign or the word ``in`` if it is here; say whether it was."""
        is_here = self._here.kind in {Kind.SIGN, Kind.NAME} and self._here.text == sign
        self._at += is_here
        return is_here

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            self._fail(f"'{sign}'")

    def _fail(self, expected: str, kind: type[InvalidQuery] = NotAQuery) -> NoReturn:
        word = self._here.text if self._here.kind is Kind.NAME else ""
        hint = f"write {_CONNECTIVES[word.lower()]}" if word.lower() in _CONNECTIVES else ""
        raise self._here.fault(kind, expected, hint)

    def _counted(self, formula: Formula) -> Formula:
        self._node_count += 1
        if self._node_count > NODES_MAX:
            raise self._here.fault(BeyondLimit, f"a query of at most {NODES_MAX} comparisons and connections")
        return formula

    def _deeper(self, inner: Callable[[], T]) -> T:
        if self._depth == DEPTH_MAX:
            raise self._here.fault(BeyondLimit, f"at most {DEPTH_MAX} parentheses and negations within each other")
        self._depth += 1
        result = inner()
        self._depth -= 1
        return result

    # --- connections --------------------------------------------------------------------------------------------

    def _formula(self) -> Formula:
        parts = [self._all()]
        while self._takes("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else self._counted(Or(tuple(parts)))

    def _all(self) -> Formula:
        parts = [self._one()]
        while self._takes("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else self._counted(And(tuple(parts)))

    def _one(self) -> Formula:
        if self._takes("!"):
            if self._here.text == "(" and self._here.kind is Kind.SIGN:
                return self._counted(Not(self._primary()))
            return self._counted(Not(self._deeper(self._negated)))
        return self._primary(is_operand=True)

    def _negated(self) -> Formula:
        return self._one() if self._here.text == "!" else self._primary()

    def _primary(self, *, is_operand: bool = False) -> Formula:
        """Return one formula; only an operand of a connection may be a comparison, which binds looser than ``!``."""
        if self._takes("("):
            formula = self._deeper(self._formula)
            self._expect(")")
            return formula
        if self._here.kind is Kind.NAME and self._here.text in {"has", "group"}:
            return self._counted(self._has() if self._next().text == "has" else self._group())
        return self._test() if is_operand else self._negated_test()

    def _negated_test(self) -> Formula:
        start = self._here
        formula = self._test()
        if isinstance(formula, Compare | In | Not):
            raise start.fault(NotAQuery, "parentheses around a negated comparison", "write !(…)")
        return formula

    # --- questions ----------------------------------------------------------------------------------------------

    def _has(self) -> Has:
        self._expect("(")
        start = self._here
        is_app = start.kind is Kind.NAME and start.text == "app"
        field = self._app() if is_app else self._field()
        if isinstance(field, AppVersion) and self._takes("."):
            self._version()
        if not isinstance(field, Label | Fact | AppVersion):
            raise start.fault(MisplacedValue, "a label, a fact or an app", f"every device has '{start.text}'")
        self._expect(")")
        return Has(field)

    def _group(self) -> InGroup:
        self._expect("(")
        token = self._here
        path = self._text('a group\'s path such as "eu/berlin"')
        try:
            parse_path(path)
        except InvalidName as error:
            raise token.fault(MisplacedValue, 'a group\'s path such as "eu/berlin"', str(error)) from error
        self._expect(")")
        return InGroup(path)

    def _test(self) -> Formula:
        if self._is_value():
            return self._flipped()
        start = self._here
        field = self._field()
        if self._takes("."):
            return self._counted(self._call(field))
        if self._takes("in"):
            return self._counted(In(field, self._list(field)))
        operator = self._operator(field, start)
        token = self._here
        value = self._value()
        return self._comparison(field, operator, (token, value))

    def _flipped(self) -> Formula:
        """Return a comparison that begins with its value, or a truth value that stands alone."""
        token = self._here
        value = self._value()
        is_compared = self._here.kind is Kind.SIGN and self._here.text in _OPERATORS
        if isinstance(value, bool) and not is_compared:
            return self._counted(Constant(value))
        if not is_compared:
            self._fail("an operator such as '=='")
        operator = self._next().text
        if self._is_value():
            raise self._here.fault(MisplacedValue, "a field such as labels.region")
        return self._comparison(self._field(), _FLIPPED.get(operator, operator), (token, value))

    def _comparison(self, field: Field, operator: str, said: tuple[Token, Value]) -> Formula:
        token, value = said
        _check(field, token, value)
        if operator == _UNEQUAL:
            return self._counted(Not(self._counted(Compare(field, Operator.EQUAL, value))))
        return self._counted(Compare(field, Operator(operator), value))

    def _operator(self, field: Field, start: Token) -> str:
        if self._here.kind is Kind.SIGN and self._here.text in _OPERATORS:
            return self._next().text
        if self._here.kind is Kind.SIGN and self._here.text == "[":
            self._fail("one key, or an operator such as '=='")
        is_askable = isinstance(field, Label | Fact)
        hint = f"write has({field_text(field)}) to ask whether it is there" if is_askable else ""
        is_over = self._here.kind is Kind.END or self._here.text in {"&&", "||", ")"}
        if is_over and hint:
            raise self._here.fault(NotAQuery, f"an operator such as '==' after '{start.text}…'", hint)
        return self._fail("an operator such as '==', 'in' or a method")

    def _call(self, field: Field) -> Call:
        token = self._next()
        method = next((method for method in Method if token.kind is Kind.NAME and token.text == method), None)
        if method is None:
            raise token.fault(UnknownName, "a method", did_you_mean(token.text, Method))
        self._expect("(")
        text = self._text("text in quotes")
        self._expect(")")
        return Call(field, method, text)

    # --- fields -------------------------------------------------------------------------------------------------

    def _field(self) -> Field:
        token = self._here
        if token.kind is not Kind.NAME or token.text.lower() in _CONNECTIVES or token.text in RESERVED:
            self._fail(_FORMULA)
        if token.text == "app":
            app = self._app()
            if not self._takes("."):
                self._fail(f"'.version' after app({quoted(app.app)})")
            self._version()
            return app
        self._next()
        if token.text in _MAPS:
            return _MAPS[token.text](self._key(token.text))
        if token.text in _SIMPLE:
            return _SIMPLE[token.text]
        raise token.fault(UnknownName, "a field", did_you_mean(token.text, _KNOWN))

    def _key(self, name: str) -> str:
        if self._takes("["):
            key = self._text(f'a key in quotes, such as {name}["region"]')
            self._expect("]")
            return key
        self._expect(".")
        if self._here.kind is not Kind.NAME or self._here.text in {"true", "false", "null", "in"}:
            self._fail(f'a key, such as {name}.region or {name}["region"]')
        return self._next().text

    def _app(self) -> AppVersion:
        self._next()
        self._expect("(")
        token = self._here
        app = self._text('an app\'s name, such as app("shop")')
        if not app:
            raise token.fault(MisplacedValue, 'an app\'s name, such as app("shop")')
        self._expect(")")
        return AppVersion(app)

    def _version(self) -> None:
        token = self._next()
        if token.text != "version" or token.kind is not Kind.NAME:
            raise token.fault(UnknownName, "'version'", "of an app, only its version is known")

    # --- values -------------------------------------------------------------------------------------------------

    def _is_value(self) -> bool:
        is_truth = self._here.kind is Kind.NAME and self._here.text in _TRUTHS
        return is_truth or self._here.kind in {Kind.TEXT, Kind.NUMBER}

    def _value(self) -> Value:
        token = self._here
        if not self._is_value():
            is_word = token.kind is Kind.NAME and token.text not in _KNOWN
            hint = f"write text in quotes: {quoted(token.text)}" if is_word else ""
            raise token.fault(NotAQuery, "a value: text in quotes, a whole number, true or false", hint)
        self._next()
        if token.kind is Kind.TEXT:
            return token.text
        return integer_of(token) if token.kind is Kind.NUMBER else _TRUTHS[token.text]

    def _text(self, expected: str) -> str:
        if self._here.kind is not Kind.TEXT:
            self._fail(expected)
        return self._next().text

    def _list(self, field: Field) -> tuple[Value, ...]:
        if not self._takes("["):
            self._fail('a list such as ["k1", "k2"] after \'in\'')
        values: list[Value] = []
        while not self._takes("]"):
            if values:
                self._expect(",")
            if len(values) == LIST_MAX:
                raise self._here.fault(BeyondLimit, f"a list of at most {LIST_MAX} values")
            token = self._here
            value = self._value()
            _check(field, token, value)
            values.append(value)
        return tuple(values)


def _check(field: Field, token: Token, value: Value) -> None:
    """Go on only with a value that a field can be compared with: what is never a number is compared with text."""
    if not isinstance(field, Label | Fact) and not isinstance(value, str):
        is_version = isinstance(field, Agent | AppVersion)
        expected = 'a version in quotes, such as "2.1"' if is_version else "text in quotes"
        raise token.fault(MisplacedValue, f"{expected}, to compare with {field_text(field)}")
