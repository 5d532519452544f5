"""Random devices and trees, drawn from few values so that they meet."""

from hypothesis import strategies as st

from controller.domain.query import Described, Formula
from controller.domain.query.tree import (
    Agent,
    And,
    AppVersion,
    Call,
    Compare,
    Constant,
    DeviceName,
    Fact,
    Has,
    In,
    InGroup,
    Label,
    Method,
    Model,
    Not,
    Operator,
    Or,
)

KEYS = ["region", "a-b", "in", "ключ", 'q"\\']
TEXTS = [
    "eu",
    "EU",
    "e",
    "",
    "true",
    "5",
    "05",
    "5.0",
    "-3",
    "4.5",
    "1e3",
    "x\0y",
    "x",
    "y",
    "é\U0010ffff",
    "\U0010ffff",
]
NUMBERS = [-4, -3, 0, 4, 5, 2**53 - 1]
VERSIONS = ["1", "1.0", "1.0.0", "2.1-rc.1", "2.1", "2.10", "2.9.1", "nightly", "2.1+build", "2.1rc"]
PATHS = ["eu", "eu/berlin", "eu/berlin/shop-7", "europe", "eu-2", "us"]
NAMES = ["kiosk-0001", "kiosk-0002", "kiosk-0003"]
MODELS = ["k1", "k2"]

texts = st.sampled_from(TEXTS) | st.text(alphabet="eu5.-\0é\ud7ff\ue000", max_size=3)
versions = st.sampled_from(VERSIONS)
"""None is empty: no device can say so of an app."""
keys = st.sampled_from(KEYS)
entries = st.dictionaries(keys, texts, max_size=3)


@st.composite
def devices(draw: st.DrawFn, name: str) -> Described:
    return Described(
        device=name,
        model=draw(st.sampled_from(MODELS)),
        agent=draw(versions | st.just("")),
        labels=draw(entries),
        facts=draw(entries),
        apps=tuple(sorted(draw(st.sets(st.tuples(st.sampled_from(["shop", "till"]), versions), max_size=3)))),
        groups=frozenset(draw(st.sets(st.sampled_from(PATHS), max_size=2))),
    )


_entry = st.builds(Label, keys) | st.builds(Fact, keys)
_app = st.builds(AppVersion, st.sampled_from(["shop", "till", "a b"]))
_version_of = _app | st.just(Agent())
_own = st.sampled_from([Model(), DeviceName()])
_values = texts | st.sampled_from(NUMBERS) | st.booleans()
_words = st.sampled_from([*MODELS, *NAMES, "k", ""])
_operators = st.sampled_from(Operator)
_leaves = st.one_of(
    st.builds(Compare, _entry, _operators, _values),
    st.builds(Compare, _version_of, _operators, versions),
    st.builds(Compare, _own, _operators, _words),
    st.builds(In, _entry, st.lists(_values, max_size=3).map(tuple)),
    st.builds(In, _version_of, st.lists(versions, max_size=3).map(tuple)),
    st.builds(In, _own, st.lists(_words, max_size=3).map(tuple)),
    st.builds(Call, _entry | _version_of, st.sampled_from(Method), texts | versions),
    st.builds(Call, _own, st.sampled_from(Method), _words),
    st.builds(Has, _entry | _app),
    st.builds(InGroup, st.sampled_from(PATHS)),
    st.builds(Constant, st.booleans()),
)


def _deeper(part: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    parts = st.lists(part, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, part) | st.builds(And, parts) | st.builds(Or, parts)


trees: st.SearchStrategy[Formula] = st.recursive(_leaves, _deeper, max_leaves=8)
