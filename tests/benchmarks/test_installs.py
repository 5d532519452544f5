"""The benchmark `installs` in small: our half for real, the rest by its parts."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.benchmarks.goosebit.environment import Unavailable, environment
from tests.benchmarks.goosebit.image import image
from tests.benchmarks.installs import Installs, Side
from tests.benchmarks.own_installs import own_installs
from tests.benchmarks.usage import Round

OURS = Side(name="Tidegate", per_second=100.0, cpu_ms=4.0, idle_share=0.005)
THEIRS = replace(OURS, name="other", per_second=20.0, cpu_ms=40.0)


@pytest.mark.timeout(110)
def test_five_devices_install_two_versions_and_it_is_measured(tmp_path: Path) -> None:
    with own_installs(tmp_path, devices=5) as own:
        for version in ("1.0.0", "2.0.0"):
            assert own.publish(version, size_bytes=1_000).length >= 1_000
            done = own.roll_out(version)
            assert done.installs == 5
            assert done.per_second > 0
            assert done.cpu_seconds > 0


def test_rounds_are_summed_up_by_their_medians() -> None:
    rounds = [Round(10, 1.0, 0.1), Round(10, 2.0, 0.4), Round(10, 5.0, 0.2)]
    side = Side.of("any", rounds, idle_share=0.0)
    assert side.per_second == 5.0
    assert side.cpu_ms == pytest.approx(20.0)


def test_both_ratios_are_told_and_kept() -> None:
    compared = Installs.of(OURS, THEIRS, devices=5)
    assert "5.00 times 20.0/s  other" in compared.line()
    assert "0.10 of 40.0 ms" in compared.line()
    assert "not alike" in compared.line()
    assert (compared.data()["ratio"], compared.data()["cpu_ratio"]) == (5.0, 0.1)


def test_where_there_is_nothing_to_compare_with_ours_is_told_alone() -> None:
    alone = Installs.of(OURS, None, devices=5, why="no index")
    assert "100/s  nothing beside it: no index" in alone.line()
    assert alone.data()["ratio"] is None
    json.dumps(alone.data(), allow_nan=False)


def test_what_cannot_be_installed_is_told_and_not_taken_for_ready(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("nothing==1.0.0\n")  # without a hash, which is refused before anything is looked for
    with pytest.raises(Unavailable, match=r"hash|nothing"):
        environment(requirements, cache=tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*/.ready"))


def test_an_image_has_its_size_and_its_members_are_aligned() -> None:
    made = image(version="1.0.0", size_bytes=2_000, hardware=("bench", "1.0"), seed=Random(1))
    assert len(made) == 2_000
    assert made.startswith(b"070701")
    assert made.index(b"sw-description") == 110
    assert made.index(b"software =") == 128
    assert all(made.index(b"070701", at) % 4 == 0 for at in (0, 1, 400))
