"""Checks of a gate in files: read, written back, and every fault with its place."""

import pytest

from controller.documents import InvalidDefinition, load, render
from controller.domain.gates.checks import Check, Http, Phase, Prometheus, Webhook
from controller.domain.pipeline import Pipeline
from protocol.units import HOUR, SECOND

CHECKS = """
kind: Pipeline
name: shop
stages:
- name: eu
  gate:
    checks:
    - {name: plain, http: {url: "https://shop.example/health"}}
    - {name: state, http: {url: "https://shop.example/health", expect: '/status == "up"'}, every: 5s, needed: 3}
    - {name: range, http: {url: "https://shop.example/", expect: 200..204}, fails_after: 1, at: rollout}
    - {name: one, http: {url: "https://shop.example/", expect: 204}, dry_run: true}
    - {name: errors, prometheus: {url: "https://prometheus.example", query: 'rate(errors[5m])', below: 0.5}}
    - {name: sold, prometheus: {url: "https://prometheus.example", query: 'rate(sales[5m])', above: 0}}
    - {name: e2e, webhook: {}, no_data_after: 2h}
"""
SHOP = "https://shop.example/health"


def test_checks_are_read_and_written() -> None:
    [pipeline] = load(CHECKS)
    assert isinstance(pipeline, Pipeline)
    where = "https://prometheus.example"
    assert pipeline.stages[0].gate.checks == (
        Check(name="plain", source=Http(url=SHOP)),
        Check(name="state", source=Http(url=SHOP, pointer="/status", equals='"up"'), every_ms=5 * SECOND, needed=3),
        Check(
            name="range",
            source=Http(url="https://shop.example/", status_min=200, status_max=204),
            fails_after=1,
            at=Phase.ROLLOUT,
        ),
        Check(name="one", source=Http(url="https://shop.example/", status_min=204, status_max=204), dry_run=True),
        Check(name="errors", source=Prometheus(url=where, query="rate(errors[5m])", below=0.5)),
        Check(name="sold", source=Prometheus(url=where, query="rate(sales[5m])", above=0)),
        Check(name="e2e", source=Webhook(), no_data_after_ms=2 * HOUR),
    )
    assert load(render(pipeline)) == (pipeline,)


@pytest.mark.parametrize(
    ("check", "place", "said"),
    [
        ("{name: x}", "", "expected exactly one of 'http', 'prometheus' and 'webhook'"),
        ('{name: x, webhook: {}, http: {url: "https://a.example"}}', "", "expected exactly one of"),
        ('{name: x, http: {url: "ftp://a.example"}}', ".http.url", "expected an address such as"),
        ('{name: x, http: {url: "https://ann:secret@a.example"}}', ".http.url", "an address has no user"),
        ('{name: x, http: {url: "https://a.example", expect: 99}}', ".http.expect", "expected statuses such as"),
        ('{name: x, http: {url: "https://a.example", expect: "/a == up"}}', ".http.expect", "expected JSON after =="),
        ('{name: x, prometheus: {url: "https://a.example", query: up}}', ".prometheus", "exactly one of 'below'"),
        ("{name: x, webhook: {}, every: 1s}", ".every", "expected at least 5s"),
        ("{name: x, webhook: {}, needed: 0}", ".needed", "expected"),
        ("{name: x, webhook: {}, at: dawn}", ".at", "expected"),
    ],
)
def test_faults_of_checks_have_their_places_and_repeat_no_password(check: str, place: str, said: str) -> None:
    text = f"kind: Pipeline\nname: shop\nstages:\n- name: eu\n  gate:\n    checks:\n    - {check}\n"
    with pytest.raises(InvalidDefinition) as caught:
        load(text)
    [fault] = caught.value.faults
    assert fault.place == f"stages[0].gate.checks[0]{place}"
    assert said in fault.message
    assert "secret" not in str(caught.value)


def test_a_name_is_given_once_in_a_gate() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load(CHECKS.replace("name: sold", "name: plain"))
    assert [fault.place for fault in caught.value.faults] == ["stages[0].gate.checks[5].name"]
