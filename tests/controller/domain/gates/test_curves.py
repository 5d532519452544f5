import pytest

from controller.domain.gates import comparison, curves, odds
from controller.domain.gates.curves import Ramped

STAGE = Ramped(devices=100_000, risk=25, above=0.02, alpha=0.01)


def test_evidence_begins_at_one_and_ends_where_the_gate_stops() -> None:
    [curve] = curves.evidence(above=0.02, alpha=0.01, rates=(0.1,), devices=400)
    begun, weight = curve.points[-1]
    assert curve.points[0] == (0.0, 1.0)
    assert (curve.name, curve.end) == ("10%", "stopped on failure 7 of 65")
    assert odds.stops_on(int(begun), above=0.02, alpha=0.01) == 7
    assert weight >= 100 > max(before for _, before in curve.points[:-1])


def test_evidence_falls_with_each_device_and_rises_with_each_failure() -> None:
    [curve] = curves.evidence(above=0.02, alpha=0.01, rates=(0.05,), devices=100)
    weights = dict(curve.points)
    assert weights[9] < weights[10]
    assert weights[10] > weights[20] > weights[29] < weights[30]
    assert curve.end == "goes on"
    assert curve.points[-1][0] == 100


def test_a_build_as_good_as_tolerated_looks_better_and_better() -> None:
    [curve] = curves.evidence(above=0.02, alpha=0.01, rates=(0.01,), devices=400)
    assert curve.points[-1][1] < 0.02


@pytest.mark.parametrize(
    ("rate", "exposed", "end"),
    [
        (0.0, (25, 128, 871, 100_000), "all have it"),
        (0.01, (25, 128, 532, 2_188, 36_596, 100_000), "all have it"),
        (0.05, (25, 91, 190, 307, 419), "the gate stops it"),
        (1.0, (25,), "the gate stops it"),
    ],
)
def test_a_ramp_is_followed_to_its_end(rate: float, exposed: tuple[int, ...], end: str) -> None:
    [curve] = curves.ramps((rate,), STAGE)
    assert curve.points == tuple((number, float(reached)) for number, reached in enumerate(exposed, start=1))
    assert curve.end == end


def test_a_ramp_that_cannot_show_that_a_build_is_good_holds() -> None:
    [curve] = curves.ramps((0.02,), STAGE)
    assert (len(curve.points), curve.end) == (15, "the ramp holds")
    assert curve.points[-1][1] < STAGE.devices


def test_stops_are_the_exact_medians_and_all_devices_where_half_are_never_stopped() -> None:
    ours, hawkbit, aws = curves.stops(above=0.02, alpha=0.01, rates=(0.05, 0.3), devices=1_000)
    [fates] = comparison.compare(
        comparison.rules(above=0.02, alpha=0.01, devices=1_000)[:1], above=0.02, rates=(0.05, 0.3), devices=1_000
    )
    assert ours.points == tuple((fate.rate, fate.median) for fate in fates.fates) == ((0.05, 336), (0.3, 9))
    assert (hawkbit.name, hawkbit.points[0]) == ("hawkBit 10%", (0.05, 1_000))
    assert (aws.name, aws.points) == ("AWS 10% of 100", ((0.05, 1_000), (0.3, 100)))
