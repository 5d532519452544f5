import json
from typing import Any

import pytest
from typer.testing import CliRunner

from controller.app.dispatch import Dispatcher
from controller.cli.app import build
from simulator.virtual import fuzz, program
from simulator.virtual.fuzz import SURE_SEEDS, Backend, Report
from simulator.virtual.program import Options
from simulator.virtual.sometimes import Sometimes


def report(**changes: Any) -> Report:
    fields: dict[str, Any] = {"first": 1, "seeds": 10, "seconds": 2.0, "events": 5_000, "failed": {}, "counts": {}}
    return Report(**(fields | changes))


def test_many_seeds_come_to_one_report_whatever_the_number_of_processes() -> None:
    alone = fuzz.fuzz(first=1, seeds=12, workers=1)
    shared = fuzz.fuzz(first=1, seeds=12, workers=2)
    assert (alone.seeds, alone.failed) == (12, {})
    assert (alone.events, alone.counts) == (shared.events, shared.counts)
    assert alone.seeds_per_minute > 0


def test_a_broken_seed_is_shown_with_the_one_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Dispatcher, "_may_send", lambda self, command: True)
    code = program.main(Options(first=1, seeds=30, workers=1), as_json=False)
    shown = capsys.readouterr().out
    assert code == program.BROKEN
    assert "invariant" in shown
    command = next(line for line in shown.splitlines() if "see it again:" in line)
    seed = int(command.rpartition(" ")[2])

    assert program.main(Options(seed=seed), as_json=False) == program.BROKEN
    story = capsys.readouterr().out
    assert "LAW BROKEN" in story
    assert "boots" in story

    monkeypatch.undo()
    assert program.main(Options(seed=seed), as_json=False) == 0
    assert "no law was broken" in capsys.readouterr().out


def test_a_rare_path_that_many_worlds_never_took_is_a_failure() -> None:
    everything = {path.value: 1 for path in Sometimes}
    del everything[Sometimes.HELD.value]
    assert report(counts=everything).is_good, "a few seeds prove nothing"
    missed = report(seeds=SURE_SEEDS, counts=everything)
    assert (missed.is_good, missed.never) == (False, (Sometimes.HELD.value,))
    assert Sometimes.HELD.value in program.in_words(missed, Backend.MEMORY)


def test_only_some_of_many_broken_seeds_are_told_in_full() -> None:
    words = program.in_words(report(failed=dict.fromkeys(range(50), ("a law: a word",))), Backend.SQL)
    assert words.count("see it again") == program.SHOWN_MAX
    assert "tidegate fuzz --seed 0 --store sql" in words


def test_stores_that_tell_different_stories_break_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.memory.targets.MemoryTargets.next_due", lambda self, run_id: None)
    outcomes = [fuzz.replay(seed, Backend.BOTH) for seed in range(1, 8)]
    assert any("both stores tell the same story" in v for outcome in outcomes for v in outcome.violations)


def test_the_command_prints_pure_json_when_asked() -> None:
    result = CliRunner().invoke(build(), ["fuzz", "--seeds", "3", "--workers", "1", "-o", "json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["seeds"] == 3


def test_the_command_plays_one_seed_on_either_store() -> None:
    told = [CliRunner().invoke(build(), ["fuzz", "--seed", "3", "--store", store]) for store in ("memory", "sql")]
    assert [result.exit_code for result in told] == [0, 0]
    assert told[0].stdout == told[1].stdout
