"""Summaries of what devices told: kept one by one, they are those of all."""

from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.outputs import Summary, summed

NAMES = ("a", "b", "c")
Told = Mapping[str, int | float | str]
told = st.dictionaries(st.sampled_from(NAMES), st.integers(-99, 99) | st.just("text"))


@given(st.lists(st.lists(told)))
def test_a_summary_is_that_of_all_numbers_however_they_came(batches: list[list[Told]]) -> None:
    kept: Mapping[str, Summary] = {}
    for batch in batches:
        kept = summed(kept, batch, {"a", "b"})
    for name in NAMES:
        numbers = [one[name] for batch in batches for one in batch if name in one]
        counted = [number for number in numbers if not isinstance(number, str)]
        if not counted or name == "c":
            assert name not in kept
            continue
        expected = Summary(count=len(counted), least=min(counted), greatest=max(counted), total=sum(counted))
        assert kept[name] == expected
        assert kept[name].average == sum(counted) / len(counted)


def test_a_summary_that_is_given_is_left_as_it_was() -> None:
    before = {"a": Summary(count=1, least=1, greatest=1, total=1)}
    assert summed(before, [{"a": 3}], {"a"}) == {"a": Summary(count=2, least=1, greatest=3, total=4)}
    assert before == {"a": Summary(count=1, least=1, greatest=1, total=1)}


def test_a_summary_is_written_alike_before_and_after_it_is_stored() -> None:
    kept = dict(summed({}, [{"a": 695}, {"a": 7}], {"a"}))
    written = msgspec.json.encode(kept)
    assert msgspec.json.encode(msgspec.json.decode(written, type=dict[str, Summary])) == written
