"""Parameters in stages: expanded by type, checked with stand-ins, and told apart from plain text."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from controller.app.errors import InvalidDefinition, SecretsNotSealed
from controller.documents import Kind, load_one, render, resolve
from controller.documents.resolve import SENT_BYTES_MAX
from controller.documents.source import BYTES_MAX
from controller.documents.templates import escaped, expand
from controller.documents.values import typed
from controller.domain.parameters import Given, Input, Need, Parameter, Type, Value
from controller.domain.pipeline import Operation, Pipeline, Resolved
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import AppName, Digest
from protocol.keys import Ed25519Signing
from protocol.messages import MESSAGE_BYTES_MAX, Command, Op, PayloadType, ReleaseRef
from protocol.units import Instant

TEXT = """
kind: Pipeline
name: shop
parameters:
  ring: {default: canary, enum: [canary, main]}
  share: {type: percent, default: 5%, max: 50%}
  soak: {type: span, min: 1m}
  count: {type: int, default: 3}
  skip: {type: bool, default: false}
  kiosks: {type: list, default: [k1, k2]}
stages:
- name: first
  targets: {query: 'labels.ring == ${ring}', percent: '${share}', exclude: '${kiosks}'}
  pace: {max_in_flight: '${count}'}
  gate: {soak: '${soak}', failures: {more_than: '${share}'}}
  allow_empty: '${skip}'
- name: rest
  needs: [first]
  targets: {labels: {ring: 'ring-${ring}-${count}', price: '$${ring}'}}
"""


def pipeline(text: str = TEXT) -> Pipeline:
    found = load_one(text, Kind.PIPELINE)
    assert isinstance(found, Pipeline)
    return found


def faults(text: str) -> dict[str, str]:
    with pytest.raises(InvalidDefinition) as caught:
        pipeline(text)
    return {fault.place: fault.message for fault in caught.value.faults}


def with_values(
    text: str = TEXT, *, need: Need = Need.EVERYTHING, operation: Operation | None = None, **given: Any
) -> Resolved:
    wanted = operation or Operation(app=AppName("shop"), version="1")
    return resolve(pipeline(text), wanted, Given(**given), need)


def refused(text: str = TEXT, **arguments: Any) -> dict[str, str]:
    with pytest.raises(InvalidDefinition) as caught:
        with_values(text, **arguments)
    return {fault.place: fault.message for fault in caught.value.faults}


def test_values_come_in_their_own_type_and_within_texts_as_text() -> None:
    values: dict[str, Value] = {
        "ring": "main",
        "share": "20%",
        "soak": "2h",
        "count": 7,
        "skip": True,
        "kiosks": ("k9",),
    }
    resolved = with_values(parameters=values)
    first, rest = resolved.pipeline.stages
    assert first.targets.query == 'labels.ring == "main"'
    assert (first.targets.percent, first.targets.exclude, first.pace.max_in_flight) == (20.0, ("k9",), 7)
    assert first.gate.failures is not None
    assert (first.gate.soak_ms, first.gate.failures.percent, first.allow_empty) == (7_200_000, 20.0, True)
    assert rest.targets.labels == {"ring": "ring-main-7", "price": "${ring}"}
    assert (resolved.pipeline.parameters, resolved.pipeline.template) == ({}, ())
    assert resolved.parameters == values


def test_values_given_as_text_are_read_by_their_type() -> None:
    given: dict[str, Value] = {"soak": "2m", "count": "7", "skip": "true", "kiosks": "a, b"}
    assert with_values(parameters=given).parameters == {
        "ring": "canary",
        "share": "5%",
        "soak": "2m",
        "count": 7,
        "skip": True,
        "kiosks": ("a", "b"),
    }


def test_no_value_becomes_a_condition_of_a_query() -> None:
    text = TEXT.replace(", enum: [canary, main]", "")
    hostile = 'x" || device != "'
    [first, _] = with_values(text, parameters={"ring": hostile, "soak": "2m"}).pipeline.stages
    assert first.targets.query == r'labels.ring == "x\" || device != \""'


def test_a_label_may_have_the_name_of_a_field() -> None:
    text = TEXT.replace("price: ", "query: '${ring}', when: '${ring}', price: ")
    [_, rest] = with_values(text, parameters={"soak": "2m"}).pipeline.stages
    assert rest.targets.labels["query"] == rest.targets.labels["when"] == "canary"


CONDITION = '  when: share("first", state == "succeeded") >= ${share} || count("first") < ${count}\n'


def test_the_condition_of_a_stage_takes_numbers_and_shares() -> None:
    [_, rest] = with_values(TEXT + CONDITION, parameters={"soak": "2m", "share": "12.5%"}).pipeline.stages
    assert rest.when == 'share("first", state == "succeeded") >= 12.5% || count("first") < 3'


@pytest.mark.parametrize("hostile", ["0 || 1 == 1", "0) || (1 == 1", 'count("first")', "succeeded", "-1", ""])
def test_no_value_becomes_a_part_of_a_condition(hostile: str) -> None:
    text = TEXT.replace("{type: int, default: 3}", '{default: "3"}').replace("'${count}'", "3") + CONDITION
    assert refused(text, parameters={"soak": "2m", "count": hostile}) == {
        "stages[1].when": f"a condition takes numbers and shares alone, found {hostile!r}"
    }


def test_no_condition_comes_whole_from_a_value() -> None:
    assert "stages[1].when" in faults(TEXT + "  when: '${ring}'\n")


def test_all_that_is_wrong_with_given_values_is_told_at_once() -> None:
    given = {"ring": "eu", "share": "60%", "count": "many", "skip": "maybe", "kiosk": "k1"}
    assert refused(parameters=given) == {
        "parameters.ring": "expected 'canary' or 'main', found 'eu'",
        "parameters.share": "expected at most '50%', found '60%'",
        "parameters.soak": "a value is missing, and there is no default",
        "parameters.count": "expected a whole number, found 'many'",
        "parameters.skip": "expected true or false, found 'maybe'",
        "parameters.kiosk": "no parameter is named 'kiosk'; did you mean 'kiosks'?",
    }


def test_a_value_that_does_not_fit_its_place_is_told_with_the_place() -> None:
    assert refused(parameters={"soak": "2m", "count": 0}) == {
        "stages[0].pace.max_in_flight": "expected at least 1, found 0"
    }
    assert refused(parameters={"soak": "2m", "kiosks": "K 1"})["stages[0].targets.exclude[0]"].startswith("name")


def test_a_job_may_leave_values_to_its_runs() -> None:
    assert with_values(need=Need.NOTHING).parameters["soak"] == "1m"
    assert refused(need=Need.PARAMETERS) == {"parameters.soak": "a value is missing, and there is no default"}


def test_a_definition_is_checked_with_its_defaults_when_it_is_saved() -> None:
    assert pipeline().stages[0].pace.max_in_flight == 3
    assert faults(TEXT.replace("default: 3", "default: 0")) == {
        "stages[0].pace.max_in_flight": "14:25: expected at least 1, found '${count}'"
    }


FAULTS: dict[str, tuple[str, str, str, str]] = {
    "unknown": ("labels.ring == ${ring}", "labels.ring == ${rink}", "stages[0].targets.query", "did you mean 'ring'?"),
    "malformed": ("ring-${ring}", "ring-${Ring}", "stages[1].targets.labels.ring", "expected a name as in ${name}"),
    "list in text": ("${ring}-${count}", "${ring}-${kiosks}", "stages[1].targets.labels.ring", "a list cannot stand"),
    "name": ("name: rest", "name: '${ring}'", "stages[1].name", "the name of a stage takes no parameter"),
    "need": ("[first]", "['${ring}']", "stages[1].needs[0]", "the needs of a stage takes no parameter"),
    "type": ("type: percent", "type: share", "parameters.share.type", "expected"),
    "default": ("default: canary", "default: eu", "parameters.ring", "expected 'canary' or 'main', found 'eu'"),
    "minimum of text": ("enum: [canary, main]", "min: a", "parameters.ring", "'min' and 'max' are for"),
    "parameter's name": ("  ring:", "  Ring:", "parameters.Ring", "should match"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_broken_template_is_told_with_place_line_and_column(case: str) -> None:
    old, new, place, message = FAULTS[case]
    found = faults(TEXT.replace(old, new))
    assert message in found[place]
    assert found[place].split(":")[0].isdecimal()


def test_a_parameter_that_no_stage_uses_is_a_fault() -> None:
    assert faults(TEXT.replace("'${soak}'", "1h")) == {"parameters.soak": "7:3: no stage uses this parameter"}


def test_a_reference_without_any_parameters_is_a_fault_and_can_be_written_as_text() -> None:
    plain = "name: p\nstages: [{name: a, targets: {labels: {x: '%s'}}}]"
    assert faults(plain % "${ring}") == {"stages[0].targets.labels.x": "2:42: no parameter is named 'ring'"}
    assert pipeline(plain % "$${ring}").stages[0].targets.labels == {"x": "${ring}"}


def test_a_template_is_rendered_as_it_was_written_and_loads_equal() -> None:
    assert pipeline(render(pipeline())) == pipeline()
    assert "max_in_flight: ${count}" in render(pipeline())


def test_values_make_no_definition_without_end() -> None:
    stages = [{"name": "a", "targets": {"labels": {str(n): "${x}" for n in range(2_000)}}}]
    found = expand(stages, {"x": "y" * (BYTES_MAX // 1_000)})
    assert "too large" in found.faults[0][1]


@given(st.text(st.sampled_from("${}a"), max_size=12))
def test_any_text_survives_escaping(text: str) -> None:
    stages = [{"name": "a", "text": [text]}]
    assert expand(escaped(stages), {}) == (stages, frozenset(), ())


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Type.STRING, ["", "x"], [1, True, ("a",), "x" * 2_001]),
        (Type.INT, [0, "-5"], ["1.5", True, "", "9" * 19]),
        (Type.PERCENT, ["5%", 5], ["101%", True, "x"]),
        (Type.SPAN, ["1h30m"], ["90", 90, True]),
        (Type.BOOL, [True, "false"], ["yes", 1]),
        (Type.LIST, [("a",), "a"], [1, ("a",) * 5_001]),
    ],
)
def test_each_type_takes_what_it_should(kind: Type, good: list[Value], bad: list[Value]) -> None:
    for value in good:
        typed(Parameter(type=kind), value)
    for value in bad:
        with pytest.raises(ValueError, match="expected"):
            typed(Parameter(type=kind), value)


# --- environment ---

ENV = """
name: shop
inputs:
  API_URL: {required: true, pattern: 'https://.+'}
  LEVEL: {}
  TOKEN: {}
env: {LEVEL: info, TOKEN: {secret: api-token}}
stages: [{name: all}]
"""
URL = {"API_URL": "https://shop.example"}


def test_the_environment_is_that_of_the_pipeline_then_the_job_then_the_run() -> None:
    operation = Operation(app=AppName("shop"), version="1", env={"LEVEL": "warn", "API_URL": "https://job.example"})
    resolved = with_values(ENV, operation=operation, env={**URL, "TOKEN": "text"})
    assert resolved.env == {"LEVEL": "warn", "API_URL": "https://shop.example", "TOKEN": "text"}


def test_a_secret_is_kept_in_documents_and_refused_at_the_start() -> None:
    assert pipeline(ENV).secrets == {"TOKEN": "api-token"}
    assert pipeline(render(pipeline(ENV))) == pipeline(ENV)
    assert with_values(ENV, need=Need.NOTHING).env == {"LEVEL": "info"}
    with pytest.raises(SecretsNotSealed, match=r"TOKEN \(api-token\): secrets cannot be sealed to devices yet"):
        with_values(ENV, env=URL)
    job = load_one("{name: j, pipeline: p, operation: {app: a, version: '1', env: {T: {secret: s}, U: x}}}", Kind.JOB)
    assert load_one(render(job), Kind.JOB) == job
    with pytest.raises(SecretsNotSealed):
        with_values(ENV, env={**URL, "TOKEN": "text"}, secrets={"LEVEL": "s"})


def test_the_environment_is_checked_against_the_declared_inputs() -> None:
    assert refused(text=ENV, env={"API_URI": "x", "TOKEN": ""}) == {
        "env.API_URI": "no input is named 'API_URI'; known are API_URL, LEVEL, TOKEN",
        "env.API_URL": "a value is missing; the pipeline requires it",
    }
    assert refused(text=ENV, env={"API_URL": "http://x", "TOKEN": ""}) == {
        "env.API_URL": "expected a match of 'https://.+', found 'http://x'"
    }
    assert refused(text=ENV, env={"API_URL": "https://x\n", "TOKEN": ""}) != {}
    free = "name: p\nstages: [{name: a}]"
    assert with_values(free, env={"ANY": "thing"}).env == {"ANY": "thing"}


def test_a_pattern_takes_linear_time_and_is_checked_when_it_is_saved() -> None:
    text = ENV.replace("https://.+", "(a|aa)+")
    assert "env.API_URL" in refused(text=text, env={"API_URL": "a" * 2_000 + "!", "TOKEN": ""})
    assert "regular expression" in faults(ENV.replace("https://.+", "(?=a)"))["inputs.API_URL.pattern"]
    assert Input().pattern == ""


def test_what_is_sent_fits_a_command() -> None:
    free = "name: p\nstages: [{name: a}]"
    room = SENT_BYTES_MAX - len('[{"X":""},{}]')
    env = with_values(free, env={"X": "v" * room}).env
    assert "at most 8000" in refused(text=free, env={"X": "v" * (room + 1)})["env"]

    sent = _largest_command(env)
    assert len(sent) < MESSAGE_BYTES_MAX


def _largest_command(env: Any) -> bytes:
    long = "x" * 63
    reference = ReleaseRef(path="p" * 200, sha256=Digest("a" * 64), length=2**53, counter=2**53)
    full = Command(
        tenant=long,
        device=long,
        seq=2**53,
        op=Op.INSTALL.value,
        run=long,
        stage=long,
        epoch=2**53,
        iat=Instant(2**53),
        exp=Instant(2**53),
        not_after=Instant(2**53),
        releases=(reference,),
        urls=("https://" + "h" * 300,),
        env=env,
    )
    return seal(encode(full), PayloadType.COMMAND, Ed25519Signing(Ed25519PrivateKey.generate()))
