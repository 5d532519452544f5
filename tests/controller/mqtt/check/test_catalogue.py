"""The table of checks, and the words about what was found."""

import pytest

from controller.mqtt.check.catalogue import BY_NAME, CHECKS, Check, Verdict
from controller.mqtt.check.findings import Finding, Report, failed, judged, not_checked, passed
from controller.mqtt.check.redelivery import ranges


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_says_what_it_asks_and_what_a_failure_means(check: Check) -> None:
    assert check.asks.endswith("?")
    assert check.severity in {Verdict.OK, Verdict.WARNING, Verdict.UNSAFE}
    if check.severity is not Verdict.OK:
        assert check.means.endswith(".")
    if check.severity is Verdict.UNSAFE:
        assert check.remedy


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([passed("plain", "")], Verdict.OK),
        ([passed("plain", ""), not_checked("tls", "")], Verdict.OK),
        ([passed("plain", ""), failed("old-tls", "")], Verdict.WARNING),
        ([failed("plain", ""), failed("old-tls", "")], Verdict.UNSAFE),
        ([not_checked("tls", "")], Verdict.NOT_CHECKED),
    ],
)
def test_the_verdict_is_the_worst(findings: list[Finding], verdict: Verdict) -> None:
    assert Report(findings=findings, profile=None).verdict is verdict


def test_a_failure_is_as_bad_as_the_table_says() -> None:
    assert judged("plain", "", is_good=False).verdict is Verdict.UNSAFE
    assert judged("delay", "", is_good=False).verdict is Verdict.WARNING
    assert judged("refusals", "", is_good=False).verdict is Verdict.OK
    assert judged("plain", "", is_good=True).verdict is Verdict.OK


def test_many_runs_are_cut_short() -> None:
    assert ranges([]) == ""
    assert ranges([3]) == "3"
    assert ranges(range(10)) == "0-9"
    assert ranges([9, 7, 5, 3, 1], most=3) == "9, 7, 5, …"
