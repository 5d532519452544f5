"""Metrics of a control group in files: read, written back, published, and every fault with its place."""

import pytest

from controller.documents import InvalidDefinition, Kind, difference, json_schema, load, render, resolve
from controller.documents.render import to_document
from controller.domain.parameters import Given, Need
from controller.domain.pipeline import METRICS_MAX, Metric, Operation, Pipeline, Worse
from protocol.ids import AppName

GATE = """
kind: Pipeline
name: shop
stages:
- name: eu
  gate:
    soak: {soak}
    control: {{metrics: {metrics}}}
"""


def loaded(metrics: str, soak: str = "1h") -> Pipeline:
    [pipeline] = load(GATE.format(metrics=metrics, soak=soak))
    assert isinstance(pipeline, Pipeline)
    return pipeline


@pytest.mark.parametrize(
    ("written", "expected", "back"),
    [
        ("[]", (), None),
        ("[scan_ms]", (Metric(name="scan_ms"),), ["scan_ms"]),
        ("[{name: scan_ms}]", (Metric(name="scan_ms"),), ["scan_ms"]),
        ("[{name: scan_ms, worse: higher}]", (Metric(name="scan_ms"),), ["scan_ms"]),
        (
            "[{name: free_mb, worse: lower, alpha: 0.25%}, boot-s_2]",
            (Metric(name="free_mb", worse=Worse.LOWER, alpha_percent=0.25), Metric(name="boot-s_2")),
            [{"name": "free_mb", "worse": "lower", "alpha": "0.25%"}, "boot-s_2"],
        ),
    ],
)
def test_metrics_are_read_and_written(written: str, expected: tuple[Metric, ...], back: list[object] | None) -> None:
    pipeline = loaded(written)
    control = pipeline.stages[0].gate.control
    assert control is not None
    assert control.metrics == expected
    assert load(render(pipeline)) == (pipeline,)
    assert to_document(pipeline)["stages"][0]["gate"]["control"].get("metrics") == back


@pytest.mark.parametrize(
    ("written", "place", "said"),
    [
        ("scan_ms", "", "list"),
        ("[Scan]", "[0]", "expected the name of an output, such as 'scan_ms', found 'Scan'"),
        ("[{name: a.b}]", "[0].name", "expected the name of an output, such as 'scan_ms', found 'a.b'"),
        ("[12]", "[0]", "expected the name of an output, such as 'scan_ms', or a mapping of fields, found 12"),
        ("[null]", "[0]", "or a mapping of fields, found nothing"),
        ("[[scan_ms]]", "[0]", "or a mapping of fields, found a list"),
        ("[{worse: lower}]", "[0].name", "missing"),
        ("[{name: scan_ms, worse: bigger}]", "[0].worse", "higher"),
        ("[{name: scan_ms, alpha: 0%}]", "[0].alpha", "at least 0.0001"),
        ("[{name: scan_ms, percent: 5%}]", "[0].percent", "unknown field"),
        ("[scan_ms, free_mb, {name: scan_ms}]", "[2].name", "metric 'scan_ms' is compared already"),
        ("[scan_ms, scan_ms]", "[1]", "metric 'scan_ms' is compared already"),
        (f"[{', '.join(f'm{n}' for n in range(METRICS_MAX + 1))}]", "", "8"),
    ],
)
def test_faults_of_metrics_have_their_places(written: str, place: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        loaded(written)
    [fault] = caught.value.faults
    assert fault.place == f"stages[0].gate.control.metrics{place}"
    assert said in fault.message


def test_metrics_need_a_soak_that_is_long_enough() -> None:
    assert loaded("[scan_ms]", soak="10s").stages[0].gate.measure_ms == 9_000
    with pytest.raises(InvalidDefinition) as caught:
        loaded("[scan_ms]", soak="9s")
    [fault] = caught.value.faults
    assert fault.message == "8:24: metrics need a soak of at least 10s: devices tell them late in it"


def test_what_is_compared_otherwise_is_a_difference() -> None:
    found = difference(loaded("[scan_ms]"), loaded("[scan_ms, {name: free_mb, worse: lower}]"))
    assert [(one.place, one.old, one.new) for one in found.changed] == [
        ("stages.eu.gate.control.metrics", ["scan_ms"], ["scan_ms", {"name": "free_mb", "worse": "lower"}])
    ]


def test_the_schema_takes_names_and_rules() -> None:
    parts = json_schema(Kind.PIPELINE)["$defs"]
    metrics = parts["ControlPart"]["properties"]["metrics"]
    name, rules = metrics["items"]["anyOf"]
    assert (name["type"], name["pattern"]) == ("string", "^[a-z][a-z0-9_-]{0,63}$")
    assert (rules, metrics["maxItems"], metrics["default"]) == ({"$ref": "#/$defs/MetricPart"}, METRICS_MAX, [])
    assert parts["MetricPart"]["required"] == ["name"]
    assert parts["MetricPart"]["properties"]["worse"]["default"] == "higher"


def test_what_is_compared_may_be_a_parameter() -> None:
    text = GATE.format(metrics="'${names}'", soak="1h").replace("stages:", "parameters: {names: {type: list}}\nstages:")
    [template] = load(text)
    assert isinstance(template, Pipeline)
    operation = Operation(app=AppName("shop"), version="1.0.0")
    found = resolve(template, operation, Given(parameters={"names": ("scan_ms", "free_mb")}), Need.EVERYTHING)
    control = found.pipeline.stages[0].gate.control
    assert control is not None
    assert [metric.name for metric in control.metrics] == ["scan_ms", "free_mb"]
