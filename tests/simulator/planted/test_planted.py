"""Each planted bug is found by the law that forbids it; the code without it is found faultless."""

import ast

import pytest

from controller.app.dispatch import Dispatcher
from simulator.virtual.laws import LAWS
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.catalogue import PLANTED
from tests.simulator.planted.planted import SEEDS_MAX, Planted, hunt, planted, wrap
from tests.simulator.planted.reseed import file_of, written

COUNT_MIN = 30
"""So many bugs are promised at least."""


@pytest.mark.no_cover
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_the_law_that_forbids_it_finds_the_bug(bug: Planted) -> None:
    found = hunt(bug)
    assert found is not None, f"{bug.name} was not found in {SEEDS_MAX} seeds from {bug.first_seed} on: {bug.says}"
    print(f"{bug.name}: {found.seed_count} seeds, {found.seconds:.1f} s, seed {found.seed}: {found.violation}")


def test_what_is_no_bug_is_not_found() -> None:
    @planted("Nothing is wrong.", *LAWS, LIVENESS)
    def nothing(patch: pytest.MonkeyPatch) -> None:
        wrap(patch, Dispatcher, "fence", lambda fence: fence)

    assert hunt(nothing, seeds_max=20) is None


def test_a_bug_whose_target_is_gone_cannot_be_planted() -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(AttributeError):
        wrap(patch, Dispatcher, "no_such_method", lambda method: method)


def test_the_list_is_long_enough_and_names_each_bug_once() -> None:
    assert len({bug.name for bug in PLANTED}) == len(PLANTED) >= COUNT_MIN


def test_every_law_has_a_bug_that_it_finds() -> None:
    used = {law for bug in PLANTED for law in bug.laws}
    assert set(LAWS) <= used


def test_writing_the_first_seed_of_a_bug_changes_nothing_else() -> None:
    for bug in PLANTED:
        source = file_of(bug).read_text()
        assert ast.dump(ast.parse(written(source, bug.name, bug.first_seed))) == ast.dump(ast.parse(source))
        assert "first_seed=123456" in written(source, bug.name, 123_456)
