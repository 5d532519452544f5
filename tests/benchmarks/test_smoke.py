"""Each benchmark over the endpoint with a handful of devices: that it works, and leaves nothing behind."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.processes import left_behind
from tests.benchmarks import __main__ as program
from tests.benchmarks import connections, dispatch, envelopes, idle, latency, orders, scale, wire
from tests.benchmarks.latency import Pause
from tests.benchmarks.measure import BenchmarkFailed, Cost, Count, Figure, Latency, Measured, machine, percentile
from tests.benchmarks.probe import Handed, Seen
from tests.benchmarks.site import Side, Site, open_site

DEVICES = 5


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Site, Side, Side]]:
    """Yield one installation that all benchmarks share: most of their time is in making theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.benchmarks.site.SETTLE_S", 0.02)
        with open_site(DEVICES, is_probed=True) as site:
            folder = site.installation.folder
            yield site, site.controller(), site.bare()
    assert left_behind(folder) == []
    assert not folder.exists()


def test_dispatch(sides: tuple[Site, Side, Side]) -> None:
    _check(dispatch.measure(*sides, rounds=1), ["dispatch signed commands", "dispatch, per CPU second"])


def test_wire(sides: tuple[Site, Side, Side]) -> None:
    reports = ["ingest reports over mTLS", "ingest reports, per CPU second"]
    _check(wire.measure(*sides, ticks=3, tick_rounds=1), [*reports, "ticks over mTLS", "ticks, per CPU second"])


def test_latency(sides: tuple[Site, Side, Side]) -> None:
    names = ["start, 5 of 5 devices", "pause answered, run moving", "commands after a pause's answer"]
    _check(latency.measure(*sides, rounds=1, pauses=2), names)


def test_idle(sides: tuple[Site, Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "REST_S", 0.0)
    silent = ["idle, 2 devices, 10 runs", "idle, 5 devices, 10 runs"]
    names = [*silent, "the same, with 0 pings/s", "idle, statements over all devices"]
    _check(idle.measure(*sides, few=2, span_s=1.2), names)


def test_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REST_S", 0.0)
    found = list(connections.figures(devices=60, span_s=1.2))
    names = ["memory of 60 connections, each", "connects, with the devices' work", "server's CPU for one connect"]
    _check(iter(found), [*names, "idle, 60 connections"])
    assert isinstance(found[0], Cost)
    assert 20 < found[0].amount < 200  # KiB


def test_scale() -> None:
    opening = ["open a stage of 200 devices", "open a stage, each device", "open a stage, memory for each"]
    _check(scale.figures(devices=200), [*opening, "40 stages, CPU for each device"])


def test_more_connections_than_files_are_refused() -> None:
    with pytest.raises(BenchmarkFailed, match="raise ulimit -n"):
        list(connections.figures(devices=100_000_000))


def _check(figures: Iterator[Measured], names: list[str]) -> None:
    found = list(figures)
    assert [figure.name for figure in found] == names
    assert all(figure.ratio > 0 for figure in found if not isinstance(figure, Count))
    assert all(figure.line() for figure in found)


def test_what_cannot_be_done_is_said(sides: tuple[Site, Side, Side]) -> None:
    site, _, bare = sides
    with pytest.raises(BenchmarkFailed, match="wrote to 5 devices, expected 6"):
        site.burst_bare(bare, b"command", 6)
    with pytest.raises(BenchmarkFailed, match=r"bare-clients: .*TimeoutError"):
        bare.crowd.ask(orders.Arrivals(1_000, seconds=0.1))


# --- what fails loudly ------------------------------------------------------------------------------------------


def test_a_command_after_the_answer_to_a_pause_fails_the_benchmark() -> None:
    pauses = [Pause(moved=10, asked=20, answered=30, until=40)]
    with pytest.raises(BenchmarkFailed, match="1 commands were handed over after"):
        latency._after(Seen([Handed(15, "install"), Handed(31, "install"), Handed(32, "hold")], []), pauses, 1_000)


def test_pauses_that_hold_nothing_back_show_nothing() -> None:
    pauses = [Pause(moved=10, asked=2_000, answered=3_000, until=4_000)]
    seen = Seen([Handed(at, "install") for at in range(11, 1_011)], [])
    with pytest.raises(BenchmarkFailed, match="too late"):
        latency._after(seen, pauses, 1_000)


# --- figures ----------------------------------------------------------------------------------------------------


def test_figures_of_rates_keep_the_names_they_always_had_in_json() -> None:
    figure = Figure("ingest", 50.0, "verified", 100.0)
    assert figure.data() == {
        "name": "ingest",
        "per_second": 50.0,
        "bound": "verified",
        "bound_per_second": 100.0,
        "ratio": 0.5,
    }


def test_percentiles_are_samples_by_nearest_rank() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert (percentile(samples, 50), percentile(samples, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)
    figure = Latency.of("start", samples, bound="bare", bound_ms=[25.0])
    assert (figure.p50_ms, figure.p99_ms, figure.ratio) == (50.0, 99.0, 2.0)


def test_the_machine_is_named_with_what_the_figures_depend_on() -> None:
    assert {"cpu", "cores", "sqlite", "openssl", "cryptography"} < machine().keys()


def test_the_program_writes_figures_and_fails_where_a_benchmark_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Iterator[Measured]:
        yield Figure("before", 1.0, "bound", 2.0)
        raise BenchmarkFailed("expected none")

    def sized(*, devices: int = 1) -> Iterator[Measured]:
        yield Figure(f"{devices} devices", 1.0, "bound", 2.0)

    out = tmp_path / "figures.json"
    monkeypatch.setattr(program, "BENCHMARKS", {"broken": broken, "sized": sized, "envelopes": envelopes.figures})
    monkeypatch.setattr(sys, "argv", ["bench", "broken", "sized", "--devices", "7", "--json", str(out)])

    with pytest.raises(SystemExit, match="1"):
        program.main()

    assert [figure["name"] for figure in json.loads(out.read_text())["figures"]] == ["before", "7 devices"]
    assert "broken FAILED: expected none" in capsys.readouterr().err
    out.unlink()
