"""The language: what is parsed, what it means, what is refused and where."""

from typing import NamedTuple

import pytest
from hypothesis import given

from controller.domain.query import (
    DEPTH_MAX,
    LENGTH_MAX,
    LIST_MAX,
    NODES_MAX,
    BeyondLimit,
    Described,
    Formula,
    InvalidQuery,
    MisplacedValue,
    NotAQuery,
    UnknownName,
    matches,
    parse,
    render,
)
from controller.domain.query.tree import Compare, Constant, Label, Not, Operator, any_of
from tests.controller.domain.query.trees import trees

KIOSK = Described(
    device="kiosk-1",
    model="k2",
    agent="1.10.0",
    labels={"region": "eu", "floor": "-2", "ratio": "0.50", "a-b": "x", "spare": "true", "empty": ""},
    facts={"os": "linux", "memory mb": "512"},
    apps=(("shop", "2.0.4"), ("till", "nightly")),
    groups=frozenset({"eu/berlin/shop-7"}),
)

TRUE = (
    'labels.region == "eu"',
    "labels['region']=='eu'",
    'labels["a-b"] == "x" && facts["memory mb"] > 500',
    '"eu" == labels.region',
    "600 > facts['memory mb']",
    "-3 < labels.floor && labels.floor <= -2",
    "labels.ratio < 1 && labels.ratio > 0",
    "labels.spare == true",
    'labels.none != "eu"',
    '!(labels.none == "eu")',
    "!(labels.region < 5) && !(labels.region >= 5)",
    'labels.region in ["us", "eu"]',
    '!(labels.none in ["us"])',
    "labels.floor in [1, -2]",
    "!(model in [])",
    'model == "k2" && device == "kiosk-1"',
    'device.startsWith("kiosk-") && device.endsWith("1") && device.contains("osk")',
    '!labels.none.startsWith("")',
    'labels.empty == "" && has(labels.empty)',
    'app("shop").version < "2.1"',
    'app("shop").version >= "2.0.4.0"',
    'app("shop").version.startsWith("2.0")',
    'app("till").version < "0.0.1"',
    'app("none").version != "1"',
    '!(app("none").version < "9")',
    'agent > "1.9"',
    'has(app("shop")) && has(app("shop").version) && !has(app("none"))',
    "has(labels.region) && !has(facts.region)",
    'group("eu") && group("eu/berlin") && group("eu/berlin/shop-7")',
    '!group("eu/ber") && !group("eu/berlin/shop")',
    "true || false && false",
    "!!true",
    "!false && (false || true)",
    '(((labels.region == "eu")))',
    'labels.region\n  == \r\n "eu"\t',
    r'"\x65\u0075" == labels.region && labels.region == "\145\U00000075"',
    r"""labels.region != '\'\"\\\n\t\a\b\f\r\v\?\`'""",
)


@pytest.mark.parametrize("text", TRUE)
def test_a_query_holds(text: str) -> None:
    assert matches(parse(text), KIOSK)
    assert not matches(parse(f"!({text})"), KIOSK)


CANONICAL = (
    ("labels [ 'region' ]\n==\t'eu'", 'labels.region == "eu"'),
    ('!(labels.region == "eu")', 'labels.region != "eu"'),
    ('!(labels.region != "eu")', '!(labels.region != "eu")'),
    ("5 <= labels.n", "labels.n >= 5"),
    ("false != labels.n", "labels.n != false"),
    ('labels["in"] == "" || labels["a b"] == ""', 'labels["in"] == "" || labels["a b"] == ""'),
    ("!(has(labels.a)) || !(!(has(facts.b)))", "!has(labels.a) || !!has(facts.b)"),
    ("!(labels.a < 1) && !(labels.a in [1])", "!(labels.a < 1) && !(labels.a in [1])"),
    ('!(labels.a.contains("x") || true)', '!(labels.a.contains("x") || true)'),
    ('(true && (false && true)) || (has(app("x").version) || true)', "true && (false && true) || (HAS || true)"),
    (r"labels.a == '\u2028\n\\'", r'labels.a == "\u2028\u000a\\"'),
)


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_the_canonical_text(text: str, expected: str) -> None:
    assert render(parse(text)) == expected.replace("HAS", 'has(app("x"))')


@given(trees)
def test_what_is_rendered_is_parsed_as_it_was(tree: Formula) -> None:
    assert parse(render(tree)) == tree


def test_unequal_is_exactly_not_equal() -> None:
    assert parse('labels.a != "b"') == Not(Compare(Label("a"), Operator.EQUAL, "b"))


def test_some_of_nothing_is_nothing() -> None:
    assert any_of() == Constant(value=False)


def _listed(count: int) -> str:
    return "model in [" + ", ".join(['""'] * count) + "]"


class Bad(NamedTuple):
    """A text and why it is no query."""

    text: str
    kind: type[InvalidQuery]
    message: str


_FORMULA = "expected a comparison, has(…), group(…) or '('"
_VALUE = "expected a value: text in quotes, a whole number, true or false"
BAD = (
    Bad("", NotAQuery, f"1:1: found the end of the query, {_FORMULA}"),
    Bad("()", NotAQuery, f"1:2: found ')', {_FORMULA}"),
    Bad(
        'labels.region = "eu"',
        NotAQuery,
        "1:15: found '=', expected a field, an operator or a value; equality is '=='",
    ),
    Bad("has(labels.a) & true", NotAQuery, "1:15: found '&', expected a field, an operator or a value; both is '&&'"),
    Bad('model == "k', NotAQuery, "a text ends on its line, with the quote that it begins with"),
    Bad(
        'model == "k1"\n  and true',
        NotAQuery,
        "2:3: found 'and', expected '&&', '||' or the end of the query; write '&&'",
    ),
    Bad("true OR true", NotAQuery, "1:6: found 'OR', expected '&&', '||' or the end of the query; write '||'"),
    Bad("not true", NotAQuery, f"1:1: found 'not', {_FORMULA}; write '!'"),
    Bad('label.region == "eu"', UnknownName, "1:1: found 'label', expected a field; did you mean 'labels'?"),
    Bad('zzz == "eu"', UnknownName, "known are agent, app, device, facts, group, has, labels, model"),
    Bad('model.startswith("k")', UnknownName, "found 'startswith', expected a method; did you mean 'startsWith'?"),
    Bad("labels.a", NotAQuery, "write has(labels.a) to ask whether it is there"),
    Bad("model", NotAQuery, "1:6: found the end of the query, expected an operator such as '==', 'in' or a method"),
    Bad('labels.a["b"] == "c"', NotAQuery, "1:9: found '[', expected one key, or an operator such as '=='"),
    Bad("labels.a == eu", NotAQuery, f"1:13: found 'eu', {_VALUE}; write text in quotes: \"eu\""),
    Bad("labels.a == labels.b", NotAQuery, f"1:13: found 'labels', {_VALUE}"),
    Bad("labels.a == 2.1", MisplacedValue, "a whole number such as 12; write versions and other text in quotes"),
    Bad("labels.a == 9007199254740992", MisplacedValue, "expected a whole number from -9007199254740991 to"),
    Bad("model == 5", MisplacedValue, "1:10: found '5', expected text in quotes, to compare with model"),
    Bad("model in [true]", MisplacedValue, "1:11: found 'true', expected text in quotes, to compare with model"),
    Bad('app("a").version < 2', MisplacedValue, 'a version in quotes, such as "2.1", to compare with app("a")'),
    Bad('app("a") < "2"', NotAQuery, "1:10: found '<', expected '.version' after app(\"a\")"),
    Bad('app("a").name == "2"', UnknownName, "of an app, only its version is known"),
    Bad('app("").version == "2"', MisplacedValue, "1:5: found the text '', expected an app's name"),
    Bad("app(shop)", NotAQuery, "1:5: found 'shop', expected an app's name"),
    Bad('"a" == "b"', MisplacedValue, "1:8: found the text 'b', expected a field such as labels.region"),
    Bad('"a" labels.b', NotAQuery, "1:5: found 'labels', expected an operator such as '=='"),
    Bad('model in "k1"', NotAQuery, "found the text 'k1', expected a list such as [\"k1\", \"k2\"] after 'in'"),
    Bad('model in ["a" "b"]', NotAQuery, "1:15: found the text 'b', expected ','"),
    Bad('!labels.a == "b"', NotAQuery, "1:2: found 'labels', expected parentheses around a negated comparison"),
    Bad("has(model)", MisplacedValue, "1:5: found 'model', expected a label, a fact or an app"),
    Bad("has(labels.a.version)", NotAQuery, "1:13: found '.', expected ')'"),
    Bad('group("Eu")', MisplacedValue, "1:7: found the text 'Eu', expected a group's path such as \"eu/berlin\""),
    Bad("labels.in == 5", NotAQuery, "1:8: found 'in', expected a key, such as labels.region or labels[\"region\"]"),
    Bad("labels[5] == 5", NotAQuery, "1:8: found '5', expected a key in quotes"),
    Bad(r'model == "\q"', NotAQuery, r"'\\q' is none"),
    Bad(r'model == "\ud800"', MisplacedValue, "expected the escape of a character"),
    Bad('model == "\ud800"', MisplacedValue, "expected text without halves of surrogate pairs"),
    Bad("(" * (DEPTH_MAX + 1) + "true" + ")" * (DEPTH_MAX + 1), BeyondLimit, f"1:{DEPTH_MAX + 2}: found 'true'"),
    Bad("!" * (DEPTH_MAX + 2) + "true", BeyondLimit, f"at most {DEPTH_MAX} parentheses and negations"),
    Bad("&&".join(["true"] * NODES_MAX), BeyondLimit, f"a query of at most {NODES_MAX} comparisons"),
    Bad(_listed(LIST_MAX + 1), BeyondLimit, f"a list of at most {LIST_MAX} values"),
    Bad(" " * (LENGTH_MAX + 1), BeyondLimit, f"1:1: found {LENGTH_MAX + 1} characters, expected at most {LENGTH_MAX}"),
    Bad('model == "' + "k" * 90, NotAQuery, "found '\"'"),
    Bad("z" * 90, UnknownName, f"found '{'z' * 40}…'"),
)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.text[:30].encode("unicode_escape").decode())
def test_what_is_no_query_is_refused_with_its_place(bad: Bad) -> None:
    with pytest.raises(bad.kind) as caught:
        parse(bad.text)
    assert bad.message in str(caught.value)
    assert type(caught.value) is bad.kind


def test_queries_at_the_limits_are_parsed() -> None:
    parse("(" * DEPTH_MAX + "true" + ")" * DEPTH_MAX)
    parse("!" * DEPTH_MAX + "true")
    parse("&&".join(["true"] * (NODES_MAX - 1)))
    parse(_listed(LIST_MAX))
    parse("true".ljust(LENGTH_MAX))
