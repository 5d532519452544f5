"""Every fault of a file at once, each with its place, line and column."""

# ruff: noqa: E501 - the table quotes the messages whole

from textwrap import dedent
from typing import NamedTuple

import pytest

from controller.documents import BYTES_MAX, InvalidDefinition, load, source
from controller.domain.validation import Fault


class Bad(NamedTuple):
    """A file and all that is wrong with it, as ``place | line:column: message``."""

    name: str
    text: str
    faults: tuple[str, ...]


BAD_FILES = (
    Bad("empty", "", (" | 1:1: expected a document",)),
    Bad("only comments", "# nothing\n---\n", (" | 1:1: expected a document",)),
    Bad("text", "pipeline", (" | 1:1: expected a mapping with the field 'kind'",)),
    Bad("broken YAML", "kind: [", (" | 2:1: did not find expected node content",)),
    Bad("no kind", "name: shop", ("kind | 1:1: the field 'kind' is missing: expected 'Pipeline' or 'Job'",)),
    Bad("unknown kind", "kind: Pipline", ("kind | 1:7: unknown kind 'Pipline'; did you mean 'Pipeline'?",)),
    Bad(
        "nothing but a kind",
        "kind: Pipeline",
        ("name | 1:1: the field 'name' is missing", "stages | 1:1: the field 'stages' is missing"),
    ),
    Bad(
        "nothing but a kind of job",
        "kind: Job\noperation: {app: shop}",
        (
            "name | 1:1: the field 'name' is missing",
            "pipeline | 1:1: the field 'pipeline' is missing",
            "operation.version | 2:12: the field 'version' is missing",
        ),
    ),
    Bad(
        "version without quotes",
        "{kind: Job, name: j, pipeline: p, operation: {app: shop, version: 2.10}}",
        ('operation.version | 1:67: expected text, found 2.10: write it in quotes, "2.10"',),
    ),
    Bad(
        "triggers of a job",
        """\
kind: Job
name: j
pipeline: p
operation: {app: shop, version: "2"}
triggers:
  - {channel: stable, cron: 0 2 * * *}
  - {}
  - {channel: stable, zone: UTC}
  - {cron: 0 2 * *}
  - {cron: 0 2 * * *, zone: Mars}
  - {chanel: stable}
""",
        (
            "triggers[0] | 6:5: expected exactly one of 'channel' and 'cron'",
            "triggers[1] | 7:5: expected exactly one of 'channel' and 'cron'",
            "triggers[2] | 8:5: expected 'zone' beside 'cron' alone",
            "triggers[3] | 9:5: cron '0 2 * *': found no 5 fields within 128 characters; expected such as '0 2 * * MON-FRI'",
            "triggers[4] | 10:5: time zone 'Mars' is not known: expected such as 'Europe/Berlin'",
            "triggers[5].chanel | 11:6: unknown field; did you mean 'channel'?",
        ),
    ),
    Bad("no stages", "kind: Pipeline\nname: shop\nstages: []", ("stages | 3:9: 0 stages: expected 1 to 256",)),
    Bad(
        "names",
        "kind: Pipeline\nname: Shop\nstages: [{name: a/b}]",
        (
            "name | 2:7: name 'Shop' is not valid: expected 1 to 63 of a-z, 0-9 and '-', not starting with '-'",
            (
                "stages[0].name | 3:17: name 'a/b' is not valid: expected 1 to 63 of a-z, 0-9 and '-', "
                "not starting with '-'"
            ),
        ),
    ),
    Bad(
        "targets",
        """\
        kind: Pipeline
        name: shop
        stages:
          - name: canary
            targets:
              groups: [eu, EU/berlin]
              query: >-
                labels.region == "eu" and
                model == "k1"
          - name: rest
            targets: {query: 'lables.region == "eu"'}
        """,
        (
            "stages[0].targets.groups[1] | 6:20: part of a group's path 'EU' is not valid: expected 1 to 63 of a-z, 0-9 and '-', not starting with '-'",
            "stages[0].targets.query | 7:14: query 1:23: found 'and', expected '&&', '||' or the end of the query; write '&&'",
            "stages[1].targets.query | 11:22: query 1:1: found 'lables', expected a field; did you mean 'labels'?",
        ),
    ),
    Bad(
        "unknown fields",
        """\
        kind: Pipeline
        name: shop
        stages:
          - name: canary
            need: []
            gate: {sucess: 95%, failures: {morethan: 3}}
            zzz: 1
        """,
        (
            "stages[0].need | 5:5: unknown field; did you mean 'needs'?",
            "stages[0].gate.sucess | 6:12: unknown field; did you mean 'success'?",
            "stages[0].gate.failures.morethan | 6:36: unknown field; did you mean 'more_than'?",
            (
                "stages[0].zzz | 7:5: unknown field; known are allow_empty, gate, name, needs, on_failure, pace, "
                "preconditions, retry, targets, timeouts, trigger, when, …"
            ),
        ),
    ),
    Bad(
        "rates",
        """\
        kind: Pipeline
        name: shop
        stages:
          - {name: a, pace: {per_minute: 0}}
          - {name: b, pace: {per_minute: soon}}
          - {name: c, pace: {per_minute: {start: 5, factor: 1, every: 10, max: 2}}}
          - {name: d, pace: {per_minute: {start: 5, factor: 2}}}
          - {name: e, pace: {per_minute: true}}
        """,
        (
            "stages[0].pace.per_minute | 4:34: expected a number of devices from 1 to 10000000, found 0",
            "stages[1].pace.per_minute | 5:34: expected a mapping of fields, found 'soon'",
            "stages[2].pace.per_minute.factor | 6:53: expected more than 1, found 1",
            "stages[3].pace.per_minute | 7:34: a rate that grows needs every, max, too",
            "stages[4].pace.per_minute | 8:34: expected a mapping of fields, found true",
        ),
    ),
    Bad(
        "a rate that begins above its limit",
        "{kind: Pipeline, name: p, stages: [{name: a, pace: {per_minute: {start: 5, factor: 2, every: 1, max: 2}}}]}",
        ("stages[0].pace.per_minute.start | 1:73: expected no more than max, 2, found 5",),
    ),
    Bad(
        "values",
        """\
        kind: Pipeline
        name: shop
        timeout: 20y
        stages:
          - name: a
            targets: {percent: 101, labels: {lane: 7, country: no}, devices: kiosk-1}
            trigger: automatc
            pace: {max_in_flight: 0}
            gate: {success: most, straggler_after: 10, on_breach: stop, failures: {more_than: 2.5, of: sent}}
            timeouts: {accept: 0s, lease: 4000d}
            retry: {attempts: many, backoff: }
            on_failure: 7
            allow_empty: maybe
          - name: b
            trigger: {type: manual, delay: soon, approvals: 17}
            gate: {failures: {more_than: "300%", of: all, min_sample: true}}
            pace: fast
          - just text
        """,
        (
            "timeout | 3:10: expected a span such as '30s', '10m', '2h', '7d' or '1h30m', found '20y'",
            "stages[0].targets.percent | 6:24: expected at most 100, found 101",
            'stages[0].targets.labels.lane | 6:44: expected text, found 7: write it in quotes, "7"',
            "stages[0].targets.devices | 6:70: expected a list, found 'kiosk-1'",
            "stages[0].trigger | 7:14: expected 'manual' or 'automatic', found 'automatc'",
            "stages[0].pace.max_in_flight | 8:27: expected at least 1, found 0",
            "stages[0].gate.success | 9:21: expected a share such as 5 or '5%', found 'most'",
            (
                "stages[0].gate.straggler_after | 9:44: expected a span with its unit, such as '10m', '2h' or '7d', "
                "found 10"
            ),
            "stages[0].gate.on_breach | 9:59: expected 'pause', 'fail' or 'alert', found 'stop'",
            (
                "stages[0].gate.failures.more_than | 9:87: expected a share such as '5%' or a count of devices such as 3, "
                "found 2.5"
            ),
            "stages[0].timeouts.accept | 10:24: expected a span longer than nothing",
            "stages[0].timeouts.lease | 10:35: a span of '4000d': expected at most 3650d",
            "stages[0].retry.attempts | 11:23: expected a whole number, found 'many'",
            "stages[0].retry.backoff | 11:38: expected a span with its unit, such as '10m', '2h' or '7d', found None",
            "stages[0].on_failure | 12:17: expected 'stop_run', 'stop_branch', 'continue' or 'rollback', found 7",
            "stages[0].allow_empty | 13:18: expected true or false, found 'maybe'",
            (
                "stages[1].trigger.delay | 15:36: expected a span such as '30s', '10m', '2h', '7d' or '1h30m', "
                "found 'soon'"
            ),
            "stages[1].trigger.approvals | 15:53: expected at most 16, found 17",
            "stages[1].gate.failures.more_than | 16:34: expected at most 100%, found '300%'",
            "stages[1].gate.failures.of | 16:46: expected 'targets', 'sent', 'started' or 'finished', found 'all'",
            "stages[1].gate.failures.min_sample | 16:63: expected a whole number, found true",
            "stages[1].pace | 17:11: expected a mapping of fields, found 'fast'",
            "stages[2] | 18:5: expected a mapping of fields, found 'just text'",
        ),
    ),
    Bad(
        "structure",
        """\
        kind: Pipeline
        name: shop
        stages:
          - name: a
            needs: [c]
          - name: b
            needs: [a, nowhere]
            targets: {devices: [k-1, k-2], exclude: [k-2]}
          - name: c
            needs: [b]
          - name: d
          - name: d
          - name: e
            trigger: {approvals: 2}
        """,
        (
            "stages | 4:3: stages need each other in a circle: a → c → b → a",
            "stages[1].needs[1] | 7:16: no stage is named 'nowhere'; there are a, b, c, d, e",
            "stages[1].targets.exclude[0] | 8:46: device 'k-2' is both listed and excluded",
            "stages[4].name | 12:11: stage 'd' is defined twice",
            (
                "stages[5].trigger.approvals | 14:26: 2 approvals of a stage that nobody promotes: "
                "expected the type 'manual'"
            ),
        ),
    ),
    Bad(
        "structure and typing at once",
        "kind: Pipeline\nname: shop\nstages:\n- {name: a, needs: [b, 3], pase: {}}\n- {name: b, needs: [a]}\n- {needs: [b]}",
        (
            "stages | 4:1: stages need each other in a circle: a → b → a",
            'stages[0].needs[1] | 4:24: expected text, found 3: write it in quotes, "3"',
            "stages[0].pase | 4:28: unknown field; did you mean 'pace'?",
            "stages[2].name | 6:3: the field 'name' is missing",
        ),
    ),
    Bad(
        "several documents",
        "kind: Pipeline\nname: p\n---\nkind: Job\nname: j\npipeline: p\noperation: 7",
        (
            "documents[0].stages | 1:1: the field 'stages' is missing",
            "documents[1].operation | 7:12: expected a mapping of fields, found 7",
        ),
    ),
    Bad(
        "keys",
        "kind: Pipeline\nname: p\nname: q\n1: x\nstages: []",
        (
            " | 3:1: the key 'name' stands twice in one mapping",
            ' | 4:1: expected text as a key: write it in quotes, "1"',
        ),
    ),
    Bad("a mapping as a key", "{a: 1}: b", (" | 1:1: expected text as a key",)),
    Bad(
        "tags",
        "kind: !!python/object/apply:os.system [id]",
        (" | 1:7: the tag 'tag:yaml.org,2002:python/object/apply:os.system' has no meaning here; leave it out",),
    ),
    Bad("alias before its anchor", "a: *b", (" | 1:4: alias '*b' stands for no complete value before it",)),
    Bad("alias inside itself", "a: &a [*a]", (" | 1:8: alias '*a' stands for no complete value before it",)),
)


def shown(fault: Fault) -> str:
    return f"{fault.place} | {fault.message}"


def faults_of(text: str | bytes) -> list[str]:
    with pytest.raises(InvalidDefinition) as caught:
        load(text)
    return [shown(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("bad", BAD_FILES, ids=lambda bad: bad.name)
def test_all_faults_are_listed_with_their_places(bad: Bad) -> None:
    assert faults_of(dedent(bad.text)) == list(bad.faults)


def test_the_summary_counts_the_faults() -> None:
    with pytest.raises(InvalidDefinition, match="the definition has 2 faults"):
        load("kind: Pipeline")
    with pytest.raises(InvalidDefinition, match=r"the definition has 1 fault$"):
        load("kind: Pipelines")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n" for before, after in zip("abcdef", "bcdefg", strict=True)
)

HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "too large": (b"#" * (BYTES_MAX + 1), "a file of 1000001 bytes"),
    "no UTF-8": (b"kind: \xff", "expected UTF-8"),
    "alias bomb": (BOMB, "more than"),
    "many aliases": ("a: &a 1\nb: [" + "*a," * 100 + "]", "more than 64 aliases"),
    "deep": ("[" * 5_000, "nested deeper than 24 levels"),
    "deep mapping": ("{a: " * 5_000, "nested deeper than 24 levels"),
    "many values": ("[" + "1," * 200_000, "more than 150000 values"),
    "many documents": ("--- a\n" * 70, "more than 64 documents"),
    "control characters": ("a: \x01", "control characters are not allowed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_one_fault(name: str) -> None:
    text, expected = HOSTILE[name]
    [fault] = faults_of(text)
    assert expected in fault


def test_aliases_within_the_bound_are_read() -> None:
    [root] = source.read("a: &x {b: 1}\nc: *x")
    assert root.data == {"a": {"b": 1}, "c": {"b": 1}}


def test_words_of_yaml_1_1_stay_text() -> None:
    [root] = source.read("[no, on, 1:30, 0x10, 007, 1_000, 2024-01-01, .inf, '1', !!str 5, +5, 1.5, null, ~, true]")
    words = ["no", "on", "1:30", "0x10", "007", "1_000", "2024-01-01", ".inf", "1", "5"]
    assert root.data == [*words, 5, 1.5, None, None, True]


def test_json_is_read_with_tabs_and_escaped_emoji() -> None:
    [root] = source.read('{\n\t"a": "\\ud83d\\ude00 \\u00e9 \\/"\n}')
    assert root.data == {"a": "😀 é /"}


LONG = "x" * 63
ABUSIVE = {
    "unknown fields": "kind: Pipeline\nname: p\nstages: []\n" + "".join(f"field{n}: 1\n" for n in range(20_000)),
    "unknown needs": "kind: Pipeline\nname: p\nstages:\n"
    + "".join(f"- {{name: {LONG[:-3]}{n:03}, needs: [{'y,' * 1_000}]}}\n" for n in range(300)),
    "long words": f"kind: Pipeline\nname: {'n' * 400_000}\ntimeout: {'9' * 400_000}\nstages: []",
    "long key": f"{'k' * 900_000}: 1",
    "tags": "[" + "!a 1," * 100_000 + "]",
    "devices": "kind: Pipeline\nname: p\nstages: [{name: a, targets: {devices: ["
    + "".join(f"d{n}," for n in range(50_000))
    + "], exclude: ["
    + "".join(f"d{n}," for n in range(50_000))
    + "]}}]",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ABUSIVE)
def test_abusive_files_cost_little_and_are_answered_briefly(name: str) -> None:
    text = ABUSIVE[name]
    assert len(text) <= BYTES_MAX
    listed = faults_of(text)
    assert 0 < len(listed) <= source.FAULTS_MAX + 1
    assert sum(map(len, listed)) < 1_000_000


def test_a_silence_as_short_as_that_of_an_idle_device_is_refused() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        load("kind: Pipeline\nname: p\nstages:\n- name: a\n  gate: {soak: 1h, silent_after: 19m}")
    [fault] = refused.value.faults
    assert fault.place == "stages[0].gate.silent_after"
    assert "expected at least 20m" in fault.message
