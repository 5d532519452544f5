"""Files become the domain's own data, and the domain's data becomes files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.documents import (
    InvalidDefinition,
    Job,
    Kind,
    json_schema,
    load,
    load_one,
    render,
    to_document,
)
from controller.documents.units import SPAN_MS_MAX, parse_percent, parse_span, render_percent, render_span
from controller.domain import query
from controller.domain.pipeline import (
    Control,
    Denominator,
    FailureLimit,
    Gate,
    Growth,
    OnBreach,
    OnFailure,
    OnHealth,
    OnModel,
    Operation,
    Pace,
    PerSite,
    Pipeline,
    Proof,
    Ramp,
    Retry,
    Rollback,
    Sequential,
    Stage,
    Targets,
    Timeouts,
    Trigger,
)
from controller.domain.trigger import OnRelease, OnSchedule
from controller.domain.validation import validate
from controller.domain.window import MINUTES, Day, Window
from protocol.ids import AppName, DeviceId, StageName
from protocol.units import DAY, HOUR, MINUTE, Millis
from tests.controller.domain.query.trees import PATHS, trees

FULL = """\
kind: Pipeline
name: shop
description: everything that can be said
timeout: 14d
timezone: Europe/Berlin
stages:
  - name: canary
    targets:
      query: 'app("shop").version < "2.1" && !(model in ["k1"])'
      groups: [eu/berlin, us]
      labels: {region: eu, country: no}
      devices: [k-1, k-2]
      exclude: [k-3]
      percent: 5
    trigger: manual
    pace:
      max_in_flight: 20
      per_minute: {start: 10, factor: 2, every: 100, max: 1000}
      per_site: {label: store, max: 2}
      ramp: {risk: 12, delta: 5%, rounds: 9, soak: 10m}
    windows: [{days: [sat, fri], from: "22:00", to: "04:00"}, {from: "0:00", to: "24:00"}]
    preconditions: facts.battery >= 20
    gate:
      success: 95%
      straggler_after: 1h
      soak: 30m
      silent_after: 20m
      failures: {above: 3%, alpha: 0.25%, more_than: "5%", of: sent, min_sample: 20}
      on_breach: pause
      models: ignored
      health: ignored
    timeouts: {accept: 5m, lease: 2h, attempt: 6h, queued: 1d, stage: 1d12h}
    retry: {attempts: 5, backoff: 90s}
    on_failure: stop_branch
    allow_empty: true
  - name: rest
    needs: [canary]
    when: count("canary", state == "succeeded") > 10
    trigger: {type: automatic, delay: 10m}
    gate: {failures: {more_than: 3}}
---
{"kind": "Job", "name": "shop-update", "pipeline": "shop",
 "operation": {"app": "shop", "version": "2.10", "requires": ["delta"], "params": {"a": "b"}, "env": {"C": "d"}},
 "priority": 7,
 "triggers": [{"channel": "stable"}, {"cron": "0 2 * * MON-FRI", "zone": "Europe/Berlin"}, {"cron": "5 4 * * *"}]}
"""

CANARY = Stage(
    name=StageName("canary"),
    targets=Targets(
        query='app("shop").version < "2.1" && !(model in ["k1"])',
        groups=("eu/berlin", "us"),
        labels={"region": "eu", "country": "no"},
        devices=(DeviceId("k-1"), DeviceId("k-2")),
        exclude=(DeviceId("k-3"),),
        percent=5.0,
    ),
    trigger=Trigger.MANUAL,
    pace=Pace(
        max_in_flight=20,
        per_minute=Growth(start=10, factor=2.0, every=100, max=1000),
        per_site=PerSite(label="store", max=2),
        ramp=Ramp(risk=12, delta_percent=5.0, rounds=9, soak_ms=10 * MINUTE),
    ),
    windows=(Window(days=(Day.FRI, Day.SAT), begin=22 * 60, end=4 * 60), Window(begin=0, end=MINUTES)),
    preconditions="facts.battery >= 20",
    gate=Gate(
        success_percent=95.0,
        straggler_after_ms=HOUR,
        soak_ms=30 * MINUTE,
        silent_after_ms=20 * MINUTE,
        sequential=Sequential(above=3.0, alpha_percent=0.25),
        failures=FailureLimit(percent=5.0, of=Denominator.SENT, min_sample=20),
        on_breach=OnBreach.PAUSE,
        models=OnModel.IGNORED,
        health=OnHealth.IGNORED,
    ),
    timeouts=Timeouts(
        accept_ms=5 * MINUTE, lease_ms=2 * HOUR, attempt_ms=6 * HOUR, queued_ms=DAY, stage_ms=DAY + 12 * HOUR
    ),
    retry=Retry(attempts_max=5, backoff_ms=90_000),
    on_failure=OnFailure.STOP_BRANCH,
    allow_empty=True,
)
REST = Stage(
    name=StageName("rest"),
    needs=(StageName("canary"),),
    when='count("canary", state == "succeeded") > 10',
    delay_ms=10 * MINUTE,
    gate=Gate(sequential=None, failures=FailureLimit(count=3)),
)
SHOP = Pipeline(
    name="shop",
    stages=(CANARY, REST),
    timeout_ms=14 * DAY,
    timezone="Europe/Berlin",
    description="everything that can be said",
)
UPDATE = Job(
    name="shop-update",
    pipeline="shop",
    operation=Operation(app=AppName("shop"), version="2.10", requires=("delta",), params={"a": "b"}, env={"C": "d"}),
    priority=7,
    triggers=(
        OnRelease(channel="stable"),
        OnSchedule(cron="0 2 * * MON-FRI", zone="Europe/Berlin"),
        OnSchedule(cron="5 4 * * *"),
    ),
)


def test_everything_that_can_be_said_is_read() -> None:
    assert load(FULL) == (SHOP, UPDATE)


def test_how_devices_are_taken_back_is_read() -> None:
    [pipeline] = load(
        """
        kind: Pipeline
        name: shop
        stages: [{name: all, on_failure: rollback}]
        rollback: {pace: {max_in_flight: 200}, gate: {success: 100%}, retry: {attempts: 5}}
        """
    )
    assert isinstance(pipeline, Pipeline)
    assert pipeline.stages[0].on_failure is OnFailure.ROLLBACK
    assert pipeline.rollback == Rollback(
        pace=Pace(max_in_flight=200),
        gate=Gate(success_percent=100.0, on_breach=OnBreach.PAUSE),
        retry=Retry(attempts_max=5),
    )


def test_a_fault_in_how_devices_are_taken_back_has_its_place() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load("{kind: Pipeline, name: shop, stages: [{name: all}], rollback: {pace: {max_in_flight: 0}, speed: 1}}")
    assert [fault.place for fault in caught.value.faults] == ["rollback.pace.max_in_flight", "rollback.speed"]


def test_what_is_not_said_is_the_domains_default() -> None:
    [pipeline] = load("kind: Pipeline\nname: p\nstages: [{name: all}]")
    assert pipeline == Pipeline(name="p", stages=(Stage(name=StageName("all")),))


def test_rendering_says_only_what_differs_from_the_defaults() -> None:
    pipeline = Pipeline(name="p", stages=(Stage(name=StageName("all"), pace=Pace(max_in_flight=3)),))
    assert render(pipeline) == "kind: Pipeline\nname: p\nstages:\n- name: all\n  pace:\n    max_in_flight: 3\n"


def test_a_constant_rate_is_a_number() -> None:
    stages = "[{name: all, pace: {per_minute: 30}}, {name: same, pace: {per_minute: {start: 30}}}]"
    pipeline = load_one(f"{{kind: Pipeline, name: p, stages: {stages}}}", Kind.PIPELINE, name="p")
    assert isinstance(pipeline, Pipeline)
    assert [stage.pace for stage in pipeline.stages] == [Pace(per_minute=30)] * 2
    assert to_document(pipeline)["stages"][1]["pace"] == {"per_minute": 30}


def test_a_job_renders_and_loads_back_equal() -> None:
    assert load(render(UPDATE)) == (UPDATE,)


names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
spans = st.integers(0, SPAN_MS_MAX)
longer = st.integers(1, SPAN_MS_MAX)
percents = st.one_of(st.floats(0, 100), st.integers(0, 100).map(float))
counts = st.integers(1, 10_000_000)
growths = st.builds(
    lambda rates, factor, every: Growth(start=min(rates), factor=factor, every=every, max=max(rates)),
    st.tuples(counts, counts),
    st.floats(1, 100, exclude_min=True),
    counts,
)
limits = st.one_of(
    st.builds(FailureLimit, count=st.integers(0, 10_000_000), of=st.sampled_from(Denominator), min_sample=counts),
    st.builds(FailureLimit, percent=percents, of=st.sampled_from(Denominator), min_sample=counts),
)

alphas = st.floats(0.0001, 0.1).map(lambda percent: round(percent, 6))
tests = st.builds(Sequential, above=st.floats(0.01, 50), alpha_percent=st.none() | alphas)
controls = st.builds(
    Control, share_percent=st.floats(0.01, 50), tolerated=st.floats(1, 100), alpha_percent=st.none() | alphas
)
proofs = st.builds(Proof, below=st.floats(0.01, 50), beta_percent=alphas)
ramps = st.builds(
    Ramp, risk=st.none() | counts, delta_percent=alphas, rounds=st.integers(1, 100), soak_ms=st.integers(0, 10**9)
)


@st.composite
def stages(draw: Callable[..., Any], earlier: list[str], name: str) -> Stage:
    devices = draw(st.lists(names, max_size=4, unique=True))
    cut = draw(st.integers(0, len(devices)))
    trigger = draw(st.sampled_from(Trigger))
    test, proof, soak_ms = draw(st.none() | tests), draw(st.none() | proofs), draw(spans)
    return Stage(
        name=StageName(name),
        needs=tuple(draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3))) if earlier else (),
        targets=Targets(
            query=draw(st.just("") | trees.map(query.render)),
            groups=tuple(draw(st.lists(st.sampled_from(PATHS), max_size=2))),
            labels=draw(st.dictionaries(words, texts, max_size=3)),
            devices=tuple(devices[:cut]),
            exclude=tuple(devices[cut:]),
            percent=draw(percents),
            include_new=draw(st.booleans()),
        ),
        trigger=trigger,
        approvals=draw(st.integers(0, 16)) if trigger is Trigger.MANUAL else 0,
        delay_ms=draw(spans),
        pace=Pace(
            max_in_flight=draw(counts),
            per_minute=draw(st.none() | counts | growths),
            per_site=draw(st.none() | sites),
            ramp=None if test is None else draw(st.none() | ramps),
        ),
        windows=tuple(draw(st.lists(windows, max_size=2))),
        preconditions=draw(st.just("") | trees.map(query.render)),
        gate=Gate(
            success_percent=draw(percents),
            proof=proof,
            straggler_after_ms=draw(st.none() | spans.map(Millis)) if proof is None else None,
            soak_ms=soak_ms,
            silent_after_ms=draw(st.none() | st.integers(20 * MINUTE, soak_ms)) if soak_ms >= 20 * MINUTE else None,
            sequential=test,
            failures=draw(st.none() | limits),
            on_breach=draw(st.sampled_from(OnBreach)),
            control=draw(st.none() | controls) if soak_ms else None,
        ),
        timeouts=Timeouts(
            accept_ms=draw(longer),
            lease_ms=draw(longer),
            attempt_ms=draw(longer),
            queued_ms=draw(st.none() | longer),
            stage_ms=draw(longer),
        ),
        retry=Retry(attempts_max=draw(st.integers(1, 20)), backoff_ms=draw(longer)),
        on_failure=draw(st.sampled_from(OnFailure)),
        allow_empty=draw(st.booleans()),
    )


sites = st.builds(PerSite, label=st.text("ab", min_size=1), max=st.integers(1, 9))
windows = st.builds(
    Window,
    days=st.sets(st.sampled_from(Day)).map(lambda days: tuple(sorted(days, key=list(Day).index))),
    begin=st.integers(0, MINUTES - 1),
    end=st.integers(1, MINUTES),
).filter(lambda window: window.begin != window.end)


@st.composite
def rollbacks(draw: Callable[..., Any]) -> Rollback:
    drawn = draw(stages([], "any"))
    return Rollback(
        pace=draw(st.none() | st.just(drawn.pace)),
        gate=msgspec.structs.replace(drawn.gate, control=None),
        timeouts=drawn.timeouts,
        retry=drawn.retry,
    )


@st.composite
def pipelines(draw: Callable[..., Any]) -> Pipeline:
    stage_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    drawn = tuple(draw(stages(stage_names[:index], name)) for index, name in enumerate(stage_names))
    zone = draw(st.sampled_from(["", "UTC", "America/New_York"]))
    return Pipeline(
        name=draw(names),
        stages=drawn,
        timeout_ms=draw(longer),
        timezone=zone,
        description=draw(texts),
        rollback=draw(st.just(Rollback()) | rollbacks()),
    )


@pytest.mark.no_cover
@given(pipelines())
def test_a_rendered_pipeline_loads_back_equal(pipeline: Pipeline) -> None:
    assert validate(pipeline) == ()
    assert load(render(pipeline)) == (pipeline,)
    assert load(json.dumps(to_document(pipeline))) == (pipeline,)
    assert json.loads(json.dumps(to_document(pipeline))) == to_document(pipeline)
    assert load(json.dumps(to_document(pipeline), ensure_ascii=False, indent="\t")) == (pipeline,)


@given(spans)
def test_a_rendered_span_parses_back_equal(span_ms: int) -> None:
    assert parse_span(render_span(span_ms)) == span_ms


@given(percents)
def test_a_rendered_share_parses_back_equal(percent: float) -> None:
    assert parse_percent(render_percent(percent)) == percent


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_whatever_the_text_nothing_but_invalid_definition_is_raised(text: str | bytes) -> None:
    try:
        load(text)
    except InvalidDefinition as error:
        faults = error.faults
    else:
        faults = ()
    assert all(fault.message[0].isdecimal() for fault in faults)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "name",
    "stages",
    "windows",
    "preconditions",
    "pace",
    "per_site",
    "needs",
    "targets",
    "gate",
    "trigger",
    "failures",
    "labels",
    "timeouts",
    "retry",
]


@pytest.mark.no_cover
@given(
    st.dictionaries(
        st.sampled_from(FIELDS), json_values | st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values))
    )
)
def test_whatever_the_fields_nothing_but_invalid_definition_is_raised(data: dict[str, Any]) -> None:
    try:
        load(json.dumps({"kind": "Pipeline", **data}))
    except InvalidDefinition as error:
        faults = error.faults
    else:
        faults = ()
    assert all(fault.message[0].isdecimal() for fault in faults)


def test_one_document_may_leave_out_its_kind_and_its_name() -> None:
    expected = Pipeline(name="p", stages=(Stage(name=StageName("a")),))
    assert load_one('{"stages": [{"name": "a"}]}', Kind.PIPELINE, name="p") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pipeline\nname: other\nstages: [{name: a}]", "2:7: expected 'p', the name in the address"),
        ("kind: Job", "1:7: unknown kind 'Job'; known are Pipeline"),
        ("stages: []\n---\nstages: []", "1:1: 2 documents: expected one Pipeline"),
    ],
)
def test_one_document_must_be_what_is_asked_for(text: str, message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load_one(text, Kind.PIPELINE, name="p")
    assert [fault.message for fault in caught.value.faults] == [message]


def test_the_schema_names_every_field_and_its_default() -> None:
    schema = json_schema(Kind.PIPELINE)
    stage = schema["$defs"]["StagePart"]["properties"]
    assert set(stage) == set(to_document(SHOP)["stages"][0]) | {"needs", "when"}
    assert schema["$defs"]["TimeoutsPart"]["properties"]["accept"]["default"] == "10m"
    rate = schema["$defs"]["PacePart"]["properties"]["per_minute"]["anyOf"]
    assert rate == [
        {"type": "integer", "minimum": 1, "maximum": 10_000_000},
        {"$ref": "#/$defs/RatePart"},
        {"type": "null"},
    ]
    above = schema["$defs"]["FailuresPart"]["properties"]["above"]["anyOf"][0]
    assert above["anyOf"][0] == {"type": "number", "minimum": 0.01, "maximum": 50}
    assert schema["additionalProperties"] is False
    assert json_schema(Kind.JOB)["required"] == ["name", "pipeline", "operation"]
    assert msgspec.json.decode(msgspec.json.encode(schema)) == schema


def _spelled_out(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema says a part is when nothing is given, in full."""
    given = {}
    for name, field in part["properties"].items():
        own = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
        if field.get("default") is not None:
            given[name] = field["default"] | _spelled_out(own, definitions) if "properties" in own else field["default"]
    return given


def test_a_stage_with_all_defaults_of_the_schema_spelled_out_is_one_with_nothing_given() -> None:
    schema = json_schema(Kind.PIPELINE)
    stage = {"name": "all", **_spelled_out(schema["$defs"]["StagePart"], schema["$defs"])}
    assert stage["timeouts"]["accept"] == "10m"
    assert load_one(json.dumps({"name": "shop", "stages": [stage]}), Kind.PIPELINE) == load_one(
        '{"name": "shop", "stages": [{"name": "all"}]}', Kind.PIPELINE
    )


@pytest.mark.parametrize("path", sorted(Path("examples/pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads_and_renders_back_equal(path: Path) -> None:
    for definition in load(path.read_bytes()):
        assert load(render(definition)) == (definition,)
