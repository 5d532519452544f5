"""A timeline is told in words, and followed until the run has ended, over broken streams, too."""

import json
from typing import Any

import pytest

from controller.app.following import News
from controller.app.views import EventView
from controller.cli import client
from controller.cli.timeline import said
from protocol.ids import StageName
from tests.controller.cli.conftest import Invoke
from tests.controller.http.fake import AT, RUN, FakeApp


def entry(id: int, kind: str, **data: str | int) -> EventView:  # noqa: A002
    return EventView(id=id, at=AT, kind=kind, data=data)


WORDS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("started", {"by": "trigger:channel stable"}, "channel stable started the run"),
    ("started", {}, "somebody started the run"),
    ("opened", {"stage": "eu"}, "stage eu opened"),
    ("failed", {"stage": "eu", "text": "3 of 9 failed"}, "stage eu failed: 3 of 9 failed"),
    ("failed", {"text": "stage eu failed"}, "the run failed: stage eu failed"),
    ("failed", {}, "the run failed"),
    ("passed", {"stage": "eu"}, "stage eu passed"),
    ("promoted", {"stage": "eu", "by": "ann"}, "ann promoted stage eu"),
    (
        "paused",
        {"text": "withdrawn:2.1.0", "by": "ann"},
        "ann withdrew version 2.1.0; the run is held and cannot be resumed",
    ),
    ("skipping", {"stage": "eu", "by": "ann", "text": "{x}"}, "ann passes over stage eu: {x}"),
    (
        "few_held_back",
        {"stage": "s", "text": "scan_ms: it takes 13 pairs, and 4 devices are held back"},
        "stage s holds back too few to be stopped by metric scan_ms: it takes 13 pairs, and 4 devices are held back",
    ),
    ("left_out", {"stage": "s", "text": "2 blocked"}, "stage s leaves out: 2 blocked"),
    (
        "quarantined",
        {"stage": "s", "text": "model kiosk-3", "evidence": "5 of 9 started failed"},
        "model kiosk-3 is quarantined: 5 of 9 started failed; stage s and the run go on without it",
    ),
    ("readmitted", {"by": "ann", "text": "model kiosk-3: by hand"}, "ann readmitted model kiosk-3: by hand"),
    ("rolled_back", {"text": "r2"}, "run r2 takes the devices back that were reached"),
    ("not_rolled_back", {"text": "1 blocked"}, "no device is taken back: 1 blocked"),
    ("resumed", {"by": "ann"}, "ann let the run go on"),
    ("resumed", {"by": "ann", "text": "known"}, "ann let the run go on: known"),
    ("paused", {"text": "operator:why: ", "by": "ann"}, "ann paused the run: why: "),
    (
        "check_pass",
        {"stage": "eu", "text": "shop", "evidence": "2 of 2 successes in a row; the last: status 200"},
        "check shop of stage eu passes: 2 of 2 successes in a row; the last: status 200",
    ),
    ("check_answered", {"stage": "eu", "by": "ann", "text": "e2e: ok"}, "ann answered a check of stage eu, e2e: ok"),
    ("paused", {"text": "check:eu/shop", "evidence": "x"}, "check eu/shop failed: x; the run is paused"),
    ("paused", {"text": "no_data:eu/shop"}, "nobody answers check eu/shop; the run is paused"),
    (
        "paused",
        {"text": "crashes:eu", "evidence": "9 of 95 updated crashed"},
        "updated devices of stage eu crash more than those held back: 9 of 95 updated crashed; the run is paused",
    ),
    (
        "paused",
        {"text": "metric:eu:scan_ms", "evidence": "worse on 8 of 8 updated devices"},
        "metric scan_ms is worse on updated devices of stage eu: worse on 8 of 8 updated devices; the run is paused",
    ),
    (
        "metric",
        {"stage": "eu", "text": "scan_ms", "evidence": "worse on 8 of 8 updated devices"},
        "metric scan_ms is worse on updated devices of stage eu: worse on 8 of 8 updated devices; the run goes on",
    ),
    ("discharged", {"stage": "eu", "text": "5 devices"}, "stage eu updates those that it held back: 5 devices"),
    (
        "paused",
        {"text": "telemetry:eu", "evidence": "3 devices fell silent after their updates, and 5 of 7 others"},
        (
            "what stage eu does is out of sight: 3 devices fell silent after their updates, and 5 of 7 others; "
            "the run is paused"
        ),
    ),
    ("silent", {"stage": "eu", "text": "1 device was offline"}, "stage eu: 1 device was offline"),
    ("paused", {"text": "breach:eu"}, "the gate of stage eu was breached; the run is paused"),
    ("paused", {"text": "stop-everything", "by": "ann"}, "ann stopped everything"),
    ("paused", {"text": "stop-everything"}, "everything is stopped: the run is paused"),
    (
        "lifted",
        {"text": "stop-everything", "by": "ann"},
        "ann lifted stop-everything; other reasons still hold the run",
    ),
    ("newer", {"text": "x", "n": 1}, "newer text=x n=1"),
)


@pytest.mark.parametrize(("kind", "data", "words"), WORDS)
def test_entries_are_told_in_words(kind: str, data: dict[str, Any], words: str) -> None:
    assert said({"kind": kind, "data": data}) == words


def test_a_timeline_is_a_table_of_words(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.events"] = (entry(1, "started", by="ann"), entry(2, "opened", stage=StageName("eu")))
    result = tidegate("run", "timeline", "run-1")
    assert "ann started the run" in result.stdout
    assert "stage eu opened" in result.stdout
    assert json.loads(tidegate("run", "timeline", "run-1", "-o", "json").stdout)[1]["kind"] == "opened"


def test_following_goes_on_over_a_broken_stream_and_tells_nothing_twice(
    tidegate: Invoke, fake: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "STREAM_WAIT_S", 0)
    fake.streams = [
        [News(entries=(entry(1, "started", by="ann"),)), News(), News(entries=(entry(4, "opened", stage="eu"),))],
        [News(entries=(entry(6, "succeeded"),), ended=RUN)],
    ]
    result = tidegate("run", "timeline", "run-1", "--follow", "--after", "0")
    assert [line.split("  ")[1] for line in result.stdout.splitlines()] == [
        "ann started the run",
        "stage eu opened",
        "the run succeeded",
    ]
    assert [arguments["after"] for name, arguments in fake.calls if name == "following.follow"] == [0, 4]


def test_what_is_followed_is_json_for_programs(tidegate: Invoke, fake: FakeApp) -> None:
    fake.streams = [[News(entries=(entry(1, "started"),), ended=RUN)]] * 2
    result = tidegate("run", "timeline", "run-1", "-f", "-o", "json")
    assert json.loads(result.stdout)["kind"] == "started"
    assert tidegate("run", "timeline", "run-1", "-f", "-o", "name").stdout == "1\n"


def test_control_characters_do_not_reach_the_terminal(tidegate: Invoke, fake: FakeApp) -> None:
    fake.streams = [[News(entries=(entry(1, "terminating", text="\x1b[2J"),), ended=RUN)]]
    assert "\x1b" not in tidegate("run", "timeline", "run-1", "-f").stdout


def test_a_run_that_is_not_there_cannot_be_followed(tidegate: Invoke) -> None:
    result = tidegate("run", "timeline", "none", "-f")
    assert result.exit_code == 1
    assert "there is no run 'none'" in result.stderr
