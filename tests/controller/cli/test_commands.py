"""Each command reaches its use case, prints what it should where it should, and ends with the right code."""

import json
import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from msgspec.structs import replace

from controller.app import errors
from controller.app.conditions import ANYTHING, Expected, job_tag, labels_tag
from controller.app.preview import Asked, Subject
from controller.app.views import Counters
from controller.cli import client
from controller.cli.app import build
from controller.domain.parameters import Given
from controller.domain.pipeline import Operation, Pace, Pipeline, Stage
from controller.domain.trigger import OnRelease, OnSchedule
from protocol.ids import AppName, StageName
from tests.controller.cli.conftest import Invoke
from tests.controller.http.fake import JOB as JOB_VIEW
from tests.controller.http.fake import PIPELINE, PIPELINE_VIEW, ROLLBACK, RUN, FakeApp

ANY = {"expected": ANYTHING}
JOB_SEEN = Expected(tags=(job_tag(JOB_VIEW),))


class Call(NamedTuple):
    """A command line, the use case it reaches with which arguments, and a word that it prints."""

    line: str
    use_case: str
    arguments: dict[str, Any]
    printed: str


CALLS = (
    Call(
        "run start shop-update",
        "runs.start",
        {"job": "shop-update", "version": None, "salt": None, "given": Given(), "allows_deprecated": False},
        "run-1",
    ),
    Call(
        "run start shop-update --version 2.2 --salt s",
        "runs.start",
        {"job": "shop-update", "version": "2.2", "salt": "s", "given": Given(), "allows_deprecated": False},
        "running",
    ),
    Call(
        "run start shop-update --set ring=a --env URL=x --allow-deprecated",
        "runs.start",
        {
            "job": "shop-update",
            "version": None,
            "salt": None,
            "given": Given(parameters={"ring": "a"}, env={"URL": "x"}),
            "allows_deprecated": True,
        },
        "running",
    ),
    Call(
        "job preview shop-update --set ring=a --salt s",
        "preview.show",
        {"subject": Subject(job="shop-update", parameters={"ring": "a"}), "salt": "s", "first": 10},
        "canary",
    ),
    Call(
        "job preview shop-update --salt s",
        "preview.show",
        {"subject": Subject(job="shop-update"), "salt": "s", "first": 10},
        "94 other labels; 3 in stage canary",
    ),
    Call(
        "job preview shop-update --salt s --stage rest --reason in_stage",
        "preview.devices",
        {
            "subject": Subject(job="shop-update"),
            "salt": "s",
            "asked": Asked(stage="rest", reason="in_stage"),
            "cursor": None,
            "limit": 100,
        },
        "in stage canary",
    ),
    Call("run pause run-1 --reason crashes", "runs.pause", {"run": "run-1", "reason": "crashes"}, "run-1"),
    Call("run resume run-1", "runs.resume", {"run": "run-1", "override": False, "reason": "", **ANY}, "run-1"),
    Call(
        "run resume run-1 --override --reason known --yes",
        "runs.resume",
        {"run": "run-1", "override": True, "reason": "known", **ANY},
        "run-1",
    ),
    Call("run terminate run-1 --reason bad -y", "runs.terminate", {"run": "run-1", "reason": "bad"}, "run-1"),
    Call(
        "run approve run-1 rest --reason fine",
        "approvals.approve",
        {"run": "run-1", "stage": "rest", "reason": "fine"},
        "run-1",
    ),
    Call(
        "run check answer run-1 rest e2e --ok --reason by-hand",
        "checking.answer",
        {"run": "run-1", "stage": "rest", "check": "e2e", "is_ok": True, "reason": "by-hand"},
        "run-1",
    ),
    Call(
        "run check answer run-1 rest e2e --failed --reason smoke",
        "checking.answer",
        {"run": "run-1", "stage": "rest", "check": "e2e", "is_ok": False, "reason": "smoke"},
        "run-1",
    ),
    Call("run promote run-1 rest", "runs.promote", {"run": "run-1", "stage": "rest", **ANY}, "run-1"),
    Call("run status run-1", "runs.get", {"run": "run-1"}, "rolling out"),
    Call(
        "run list --job shop-update --active",
        "runs.list_runs",
        {"job": "shop-update", "active": True, "cursor": None, "limit": 50},
        "55/105",
    ),
    Call(
        "run targets run-1 --state failed",
        "runs.targets",
        {"run": "run-1", "stage": None, "state": "failed", "cursor": None, "limit": 100},
        "verify_failed",
    ),
    Call(
        "run targets run-1 -o wide",
        "runs.targets",
        {"run": "run-1", "stage": None, "state": None, "cursor": None, "limit": 100},
        "boot_ms=840, kernel=6.1, load=0.5",
    ),
    Call(
        "run targets run-1 --stage rest -o wide",
        "runs.targets",
        {"run": "run-1", "stage": "rest", "state": None, "cursor": None, "limit": 100},
        "scan_ms=190.5",
    ),
    Call("run events run-1 --after 3", "runs.events", {"run": "run-1", "after": 3, "limit": 100}, "stage_opened"),
    Call(
        "run skip run-1 rest --reason x -y",
        "runs.skip",
        {"run": "run-1", "stage": "rest", "reason": "x", **ANY},
        "run-1",
    ),
    Call(
        "run readmit run-1 --model kiosk-3 --reason x -y",
        "runs.readmit",
        {"run": "run-1", "model": "kiosk-3", "reason": "x", **ANY},
        "run-1",
    ),
    Call(
        "run readmit run-1 --others --reason x -y",
        "runs.readmit",
        {"run": "run-1", "model": "", "reason": "x", **ANY},
        "run-1",
    ),
    Call(
        "run retry run-1 --version 2.1.1",
        "reruns.retry",
        {"run": "run-1", "version": "2.1.1", "with_cancelled": False},
        "run-1",
    ),
    Call(
        "run retry run-1 --with-cancelled",
        "reruns.retry",
        {"run": "run-1", "version": None, "with_cancelled": True},
        "run-1",
    ),
    Call(
        "run rollback run-1 --reason x --to 2.0.0 -y",
        "reruns.roll_back",
        {"run": "run-1", "reason": "x", "version": "2.0.0"},
        "run-2",
    ),
    Call(
        "run give-up run-1 kiosk-1 --reason stolen",
        "giving_up.give_up",
        {"run": "run-1", "device": "kiosk-1", "reason": "stolen"},
        "kiosk-1",
    ),
    Call(
        "job triggers j --channel stable --cron '0 2 * * *'",
        "jobs.set_triggers",
        {"name": "j", "triggers": (OnRelease(channel="stable"), OnSchedule(cron="0 2 * * *")), "expected": JOB_SEEN},
        "channel stable, 0 2 * * * Europe/Berlin",
    ),
    Call("job triggers j", "jobs.set_triggers", {"name": "j", "triggers": (), "expected": JOB_SEEN}, "shop-update"),
    Call("job hook j", "hooks.create", {"job": "j"}, "tg_secret"),
    Call("job hook j --remove -y", "hooks.remove", {"job": "j"}, ""),
    Call("job show j -o wide", "jobs.get", {"name": "j"}, "2.1.0 of trigger:hook"),
    Call(
        "run list -o wide",
        "runs.list_runs",
        {"job": None, "active": None, "cursor": None, "limit": 50},
        "trigger:channel",
    ),
    Call(
        "release channel add shop 2.1.0 stable",
        "channels.add",
        {"app": "shop", "version": "2.1.0", "channel": "stable"},
        "run-1",
    ),
    Call(
        "release channel remove shop 2.1.0 stable",
        "channels.remove",
        {"app": "shop", "version": "2.1.0", "channel": "stable"},
        "",
    ),
    Call(
        "freeze add sale --from 2026-01-01T00:00:00Z --until 2026-01-02T00:00:00Z --pipeline shop --reason week",
        "freezes.add",
        {
            "name": "sale",
            "starts_at": 1_767_225_600_000,
            "ends_at": 1_767_312_000_000,
            "reason": "week",
            "pipelines": ("shop",),
        },
        "sale",
    ),
    Call("freeze list", "freezes.list_freezes", {}, "sale week"),
    Call("freeze remove sale --reason out -y", "freezes.remove", {"name": "sale", "reason": "out"}, ""),
    Call(
        "release deprecate shop 2.1.0 --reason slow -o wide",
        "withdrawal.deprecate",
        {"app": "shop", "version": "2.1.0", "reason": "slow"},
        "slow",
    ),
    Call(
        "release withdraw shop 2.1.0 --reason crashes --yes",
        "withdrawal.withdraw",
        {"app": "shop", "version": "2.1.0", "reason": "crashes"},
        "deprecated",
    ),
    Call("stop-everything --reason smoke", "standstill.stop", {"reason": "smoke"}, "yes"),
    Call("stop-everything --lift --reason out -y", "standstill.lift", {"reason": "out"}, "ann"),
    Call("stop-everything --show", "standstill.get", {}, "smoke"),
    Call("pipeline list", "pipelines.list_pipelines", {}, "shop"),
    Call(
        "pipeline history shop", "pipelines.history", {"name": "shop", "cursor": None, "limit": 50}, "added stage all"
    ),
    Call("pipeline diff shop --from 2 --to 5", "pipelines.get", {"name": "shop", "revision": 2}, ""),
    Call("pipeline show shop", "pipelines.get", {"name": "shop", "revision": None}, "kind: Pipeline"),
    Call("pipeline show shop --revision 2 -o wide", "pipelines.get", {"name": "shop", "revision": 2}, "ann"),
    Call(
        "job create j --pipeline p --app shop --version 2.1 --param a=b --env C=d=e --priority 3 "
        "--cron '0 2 * * *' --zone Europe/Berlin",
        "jobs.create",
        {
            "name": "j",
            "pipeline": "p",
            "operation": Operation(app=AppName("shop"), version="2.1", params={"a": "b"}, env={"C": "d=e"}),
            "priority": 3,
            "parameters": {},
            "triggers": (OnSchedule(cron="0 2 * * *", zone="Europe/Berlin"),),
        },
        "shop-update",
    ),
    Call(
        "job change shop-update --version 2.2 --priority 7 --pipeline p",
        "jobs.apply",
        {
            "name": "shop-update",
            "pipeline": "p",
            "operation": Operation(app=AppName("shop"), version="2.2"),
            "priority": 7,
            "parameters": {},
            "triggers": JOB_VIEW.triggers,
            "expected": JOB_SEEN,
        },
        "shop-update",
    ),
    Call("job archive shop-update -y", "jobs.archive", {"name": "shop-update", "expected": JOB_SEEN}, ""),
    Call("pipeline archive shop -y", "pipelines.archive", {"name": "shop", "expected": Expected(tags=("3",))}, ""),
    Call("job list", "jobs.list_jobs", {}, "shop-update"),
    Call("job show shop-update", "jobs.get", {"name": "shop-update"}, "2.1.0"),
    Call("device show kiosk-1", "devices.get", {"device": "kiosk-1"}, "shop 2.0.0"),
    Call(
        "device label kiosk-1 ring=canary region-",
        "devices.set_labels",
        {
            "device": "kiosk-1",
            "labels": {"ring": "canary"},
            "expected": Expected(tags=(labels_tag({"region": "eu"}),)),
        },
        "kiosk-1",
    ),
    Call("device block kiosk-1 --reason lost --yes", "devices.block", {"device": "kiosk-1", "reason": "lost"}, "k1"),
    Call(
        "device why kiosk-1 --app shop", "why.of_device", {"device": "kiosk-1", "app": "shop"}, "it is offline for 2 d"
    ),
    Call(
        "device why kiosk-1 --run run-1", "why.of_run", {"run": "run-1", "device": "kiosk-1"}, "it is offline for 2 d"
    ),
    Call("device remove kiosk-1 --reason sold --yes", "removing.remove", {"device": "kiosk-1", "reason": "sold"}, "k1"),
    Call("device unblock kiosk-1 --reason found", "devices.unblock", {"device": "kiosk-1", "reason": "found"}, "k1"),
    Call(
        "device hold kiosk-1 --reason fair",
        "restraining.hold",
        {"device": "kiosk-1", "reason": "fair", "until": None},
        "kiosk-1",
    ),
    Call(
        "device unhold kiosk-1 --reason over", "restraining.unhold", {"device": "kiosk-1", "reason": "over"}, "kiosk-1"
    ),
    Call(
        "device pin kiosk-1 shop <3 --reason audit",
        "restraining.pin",
        {"device": "kiosk-1", "app": "shop", "versions": "<3", "reason": "audit"},
        "kiosk-1",
    ),
    Call(
        "device unpin kiosk-1 shop --reason done",
        "restraining.unpin",
        {"device": "kiosk-1", "app": "shop", "reason": "done"},
        "kiosk-1",
    ),
    Call(
        "release path shop 2.1.0 --from >=1.2 --not 1.3.* --through 2.0 --reason database",
        "paths.order",
        {
            "app": "shop",
            "version": "2.1.0",
            "allowed": ">=1.2",
            "forbidden": "1.3.*",
            "through": ["2.0"],
            "reason": "database",
        },
        "2.0 moves the database",
    ),
    Call("release path shop 2.1.0 --show", "paths.get", {"app": "shop", "version": "2.1.0"}, ">=1.2"),
    Call(
        "device list --query has(labels.a) --group eu --limit 1",
        "devices.list_devices",
        {
            "labels": {},
            "online": None,
            "app": None,
            "version": None,
            "query": "has(labels.a)",
            "group": "eu",
            "cursor": None,
            "limit": 1,
        },
        "kiosk-1",
    ),
    Call("group list", "groups.list_groups", {"under": None}, "eu/berlin"),
    Call("group list eu", "groups.list_groups", {"under": "eu"}, "5"),
    Call("group create eu/berlin", "groups.create", {"path": "eu/berlin"}, "eu/berlin"),
    Call("group remove eu/berlin", "groups.remove", {"path": "eu/berlin", "recursive": False}, ""),
    Call("group remove eu --recursive --yes", "groups.remove", {"path": "eu", "recursive": True}, ""),
    Call(
        "group add eu/berlin kiosk-1 kiosk-2",
        "groups.add_devices",
        {"path": "eu/berlin", "devices": ["kiosk-1", "kiosk-2"], "query": None},
        "CHANGED",
    ),
    Call(
        "group drop eu/berlin -q true",
        "groups.drop_devices",
        {"path": "eu/berlin", "devices": [], "query": "true"},
        "eu/berlin",
    ),
    Call("release list --app shop", "releases.list_releases", {"app": "shop"}, "archive"),
    Call("token list", "tokens.list_tokens", {}, "releaser"),
    Call("token revoke t1 --yes", "tokens.revoke", {"token": "t1"}, ""),
    Call("audit list --after 5", "system.audit", {"after": 5, "limit": 100}, "crashes"),
    Call("security list", "system.security_events", {"after": 0, "limit": 500}, "replay"),
)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.line)
def test_a_command_reaches_its_use_case(call: Call, tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate(*shlex.split(call.line))
    assert result.exit_code == 0, result.output
    assert (call.use_case, call.arguments) in fake.calls
    assert call.printed in result.stdout


def test_a_job_shows_the_parameters_that_it_sets(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["jobs.get"] = replace(JOB_VIEW, parameters={"ring": "beta"})
    result = tidegate("job", "show", "j", "-o", "wide")
    assert re.search(r"^SET +.*ring.*beta", result.stdout, re.MULTILINE)


def test_secrets_are_printed_once_and_times_are_ahead(tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("token", "create", "ci", "--role", "releaser", "--expires", "90d", "-o", "json")
    assert json.loads(result.stdout) == {"id": "t2", "secret": "tg_secret"}
    result = tidegate("claim", "create", "--uses", "5", "-o", "name")
    assert result.stdout == "tg_secret\n"
    token, claim = (arguments for _, arguments in fake.calls)
    assert (token["name"], token["role"], claim["uses"]) == ("ci", "releaser", 5)
    assert abs(token["expires_at"] - claim["expires_at"] - 83 * 86_400_000) < 60_000


def test_every_form_of_output(tidegate: Invoke) -> None:
    lines = tidegate("device", "list", "--limit", "1").stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["DEVICE", "STATE", "MODEL", "APPS"],
        ["kiosk-1", "online", "k1", "shop"],
    ]
    assert "FACTS" not in lines[0]
    assert "FACTS" in tidegate("device", "list", "--limit", "1", "-o", "wide").stdout
    assert json.loads(tidegate("device", "list", "--limit", "1", "-o", "json").stdout)[0]["device"] == "kiosk-1"
    assert json.loads(tidegate("device", "show", "kiosk-1", "-o", "jsonl").stdout)["model"] == "k1"
    assert yaml.safe_load(tidegate("device", "list", "--limit", "1", "-o", "yaml").stdout)[0]["online"] is True
    assert tidegate("device", "list", "--limit", "1", "-o", "name").stdout == "kiosk-1\n"


def test_lists_go_on_over_pages(tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("device", "list", "--limit", "3", "-o", "name")
    assert result.stdout == "kiosk-1\n" * 3
    cursors = [(arguments["cursor"], arguments["limit"]) for _, arguments in fake.calls]
    assert cursors == [(None, 3), ("next", 2), ("next", 1)]


def test_logs_go_on_over_pages(tidegate: Invoke, fake: FakeApp) -> None:
    entry = fake.answers["system.audit"][0]
    pages = [tuple(replace(entry, id=number + 1) for number in range(start, start + 500)) for start in (0, 500)]
    fake.answers["system.audit"] = [*pages, (replace(entry, id=1_001),)]
    result = tidegate("audit", "list", "--after", "0", "--limit", "1200", "-o", "name")
    assert len(result.stdout.splitlines()) == 1_001
    assert [(arguments["after"], arguments["limit"]) for _, arguments in fake.calls] == [
        (0, 500),
        (500, 500),
        (1_000, 200),
    ]


@pytest.mark.parametrize(
    ("line", "use_case"),
    [
        ("audit list", "system.audit"),
        ("security list", "system.security_events"),
        ("run events run-1", "runs.events"),
    ],
)
def test_logs_show_their_newest_entries_last(line: str, use_case: str, tidegate: Invoke, fake: FakeApp) -> None:
    entry = fake.answers[use_case][0]
    log = [replace(entry, id=number + 1) for number in range(503)]
    fake.answers[use_case] = [tuple(log[:500]), tuple(log[500:])]
    result = tidegate(*line.split(), "-o", "name")
    assert result.stdout.split() == [str(number) for number in range(404, 504)]
    assert result.stderr == "older entries: --limit 503\n"
    assert [arguments["after"] for _, arguments in fake.calls] == [0, 500]


def test_nothing_is_said_where_nothing_is_left_out(tidegate: Invoke) -> None:
    for line in ("audit list", "run list", "run targets run-1", "audit list --after 0"):
        assert tidegate(*line.split()).stderr == ""


def test_a_list_that_is_cut_off_says_so(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.list_runs"] = replace(fake.answers["runs.list_runs"], cursor="next")
    fake.answers["runs.targets"] = replace(fake.answers["runs.targets"], cursor="next")
    for line in ("run list", "run targets run-1", "device list"):
        assert tidegate(*line.split(), "--limit", "2", "-o", "name").stderr == "more: --limit 20\n"
    assert tidegate("audit", "list", "--after", "0", "--limit", "1").stderr == "more: --after 1\n"


@pytest.mark.parametrize(("name", "code"), [("../tokens", 0), ("a b?c#d", 0), ("..", 2), ("", 2)])
def test_a_name_stays_one_part_of_the_address(name: str, code: int, tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("device", "show", name)
    assert result.exit_code == (1 if "/" in name else code)
    assert [arguments for _, arguments in fake.calls] == ([] if code or "/" in name else [{"device": name}])


def test_filters_of_devices(tidegate: Invoke, fake: FakeApp) -> None:
    tidegate("device", "list", "-l", "region=eu", "-l", "ring=a", "--offline", "--app", "shop", "--limit", "1")
    [(_, arguments)] = fake.calls
    assert arguments["labels"] == {"region": "eu", "ring": "a"}
    assert (arguments["online"], arguments["app"]) == (False, "shop")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("no run"), 1),
        (errors.InvalidRequest("no"), 1),
        (errors.Overloaded("busy"), 1),
        (errors.NotAuthenticated("who"), 4),
        (errors.NotAllowed("no"), 4),
        (errors.Conflict("ended"), 6),
    ],
)
def test_errors_have_exit_codes_and_go_to_standard_error(
    error: Exception, code: int, tidegate: Invoke, fake: FakeApp
) -> None:
    fake.answers["runs.pause"] = error
    result = tidegate("run", "pause", "run-1", "--reason", "x")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "line",
    [
        "run",
        "run pause run-1",
        "run frobnicate",
        "run terminate run-1 --reason  ",
        "run list --limit 0",
        "run list -o xml",
        "run watch run-1 --timeout soon",
        "device list --label region",
        "device label kiosk-1 region",
        "token create ci --role king",
        "token create ci --role viewer --expires never",
    ],
)
def test_wrong_use_ends_with_2(line: str, tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate(*line.split(" "))
    assert result.exit_code == 2
    assert not [name for name, _ in fake.calls if name != "devices.get"]


@pytest.mark.parametrize(
    "line",
    ["run terminate run-1 --reason x", "device block kiosk-1 --reason x", "token revoke t1 --no-input"],
)
def test_without_consent_nothing_happens(line: str, tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate(*line.split())
    assert result.exit_code == 3
    assert "pass --yes" in result.stderr
    assert {name for name, _ in fake.calls} <= {"runs.get"}


def test_blocking_a_device_promises_only_what_holds_behind_a_broker_too(tidegate: Invoke) -> None:
    result = tidegate("device", "block", "kiosk-1", "--reason", "x")
    assert "nothing will be sent to kiosk-1 or taken from it, and its certificate not be renewed" in result.stderr
    assert "disconnected" not in result.stderr


def test_ending_a_run_says_what_follows(tidegate: Invoke) -> None:
    result = tidegate("run", "terminate", "run-1", "--reason", "x")
    assert "40 devices will not start, 5 at work are called back" in result.stderr


def test_a_preview_says_to_what_there_is_no_way_back(tidegate: Invoke) -> None:
    assert "forbids going back to 1.9.0, 2.0.0" in tidegate("job", "preview", "shop-update").stderr.replace("\n", " ")


def test_a_rollback_says_what_follows(tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("run", "rollback", "run-1", "--reason", "x")
    assert result.exit_code == 3
    assert "run run-1 ends first, then 58 devices go back: 8 to 1.9.0, 50 to 2.0.0" in result.stderr.replace("\n", " ")
    assert "1 device stays as it is: 1 left broken" in result.stderr.replace("\n", " ")
    fake.answers["reruns.consequence"] = replace(ROLLBACK, ended=True, devices=0, versions=(), left_out=())
    assert "no device goes back" in tidegate("run", "rollback", "run-1", "--reason", "x").stderr


def test_a_rollback_of_a_run_that_is_under_way_says_that_it_waits(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["reruns.roll_back"] = replace(RUN, rolling_back=True)
    assert "run run-1 ends first" in tidegate("run", "rollback", "run-1", "--reason", "x", "-y").stderr


def test_one_device_is_no_devices(tidegate: Invoke, fake: FakeApp) -> None:
    alone = replace(RUN.stages[1], counters=Counters(queued=1, in_progress=1))
    fake.answers["runs.get"] = replace(RUN, stages=(alone,))
    result = tidegate("run", "terminate", "run-1", "--reason", "x")
    assert "1 device will not start, 1 at work is called back" in result.stderr


def test_a_run_that_has_ended_is_not_asked_about(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.get"] = replace(RUN, state="succeeded", ended_at=RUN.created_at)
    result = tidegate("run", "terminate", "run-1", "--reason", "x")
    assert result.exit_code == 6
    assert result.stderr == "error: Conflict: run run-1 has ended: it is succeeded\n"
    assert {name for name, _ in fake.calls} == {"runs.get"}


def test_a_run_that_waits_for_a_promotion_says_what_is_next(tidegate: Invoke, fake: FakeApp) -> None:
    assert tidegate("run", "start", "shop-update").stderr == ""
    waiting = replace(RUN.stages[1], state="awaiting_promotion")
    fake.answers["runs.start"] = replace(RUN, waiting=True, stages=(waiting,))
    assert tidegate("run", "start", "shop-update").stderr == "next: tidegate run promote run-1 rest\n"


def test_reasons_of_a_pause_are_shown_as_they_were_given(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["runs.get"] = replace(RUN, paused=True, pause_reasons=("operator:crashes",))
    assert "paused (crashes)" in tidegate("run", "status", "run-1").stdout
    assert "operator:crashes" in tidegate("run", "status", "run-1", "-o", "json").stdout


def test_the_version_and_the_exit_codes_are_told(tidegate: Invoke) -> None:
    assert tidegate("--version").stdout == f"tidegate {version('tidegate')}\n"
    assert "Exit codes" in tidegate("--help").stdout


def test_promote_finds_the_only_stage_that_waits(tidegate: Invoke, fake: FakeApp) -> None:
    waiting = replace(RUN.stages[1], state="awaiting_promotion")
    fake.answers["runs.get"] = replace(RUN, stages=(RUN.stages[0], waiting))
    assert tidegate("run", "promote", "run-1").exit_code == 0
    assert ("runs.promote", {"run": "run-1", "stage": "rest", **ANY}) in fake.calls
    fake.answers["runs.get"] = replace(RUN, stages=(waiting, waiting))
    assert tidegate("run", "promote", "run-1").exit_code == 2
    fake.answers["runs.get"] = RUN
    assert tidegate("run", "promote", "run-1").exit_code == 6


GOOD = "kind: Pipeline\nname: shop\nstages:\n- name: all\n"
BAD = "kind: Pipeline\nname: shop\nstages:\n- name: all\n  need: []\n  pase: {}\n"
JOB = (
    "---\nkind: Job\nname: shop-update\npipeline: shop\noperation: {app: shop, version: 2.1.0}\npriority: 5\n"
    "triggers: [{channel: stable}, {cron: 0 2 * * *, zone: Europe/Berlin}]\n"
)


def test_faults_of_a_file_are_listed_and_nothing_is_sent(tidegate: Invoke, fake: FakeApp, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text(BAD)
    good.write_text(GOOD)
    for line in (("pipeline", "apply", "-f", str(good), "-f", str(bad)), ("pipeline", "lint", str(bad), str(good))):
        result = tidegate(*line)
        assert result.exit_code == 1
        assert "error: 2 faults found; nothing was changed" in result.stderr
        assert f"{bad}:5:3: stages[0].need: unknown field; did you mean 'needs'?" in result.stderr
        assert f"{bad}:6:3: stages[0].pase: unknown field; did you mean 'pace'?" in result.stderr
    assert fake.calls == []


def test_lint_needs_no_controller(tidegate: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIDEGATE_URL")
    (tmp_path / "good.yaml").write_text(GOOD)
    assert tidegate("pipeline", "lint", str(tmp_path / "good.yaml")).exit_code == 0
    assert tidegate("pipeline", "lint", str(tmp_path / "none.yaml")).exit_code == 1
    assert tidegate("run", "list").exit_code == 2


def test_lint_says_which_definition_has_no_fault(tidegate: Invoke, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD + JOB.replace("name: shop-update", "name: shop"))
    result = tidegate("pipeline", "lint", str(tmp_path / "good.yaml"))
    assert (result.stdout + result.stderr).splitlines() == ["pipeline shop: no fault", "job shop: no fault"]


def test_apply_shows_what_is_different_and_changes_it_from_what_it_saw(tidegate: Invoke, fake: FakeApp) -> None:
    same = tidegate("pipeline", "apply", "-f", "-", "-o", "json", text=GOOD + JOB)
    assert [item["result"] for item in json.loads(same.stdout)] == ["unchanged", "unchanged"]
    changed = Pipeline(name="shop", stages=(Stage(name=StageName("all"), pace=Pace(max_in_flight=3)),))
    text = GOOD + "  pace: {max_in_flight: 3}\n"
    dry = tidegate("pipeline", "apply", "-f", "-", "--dry-run", text=text)
    assert dry.exit_code == 0
    assert "would change" in dry.stdout
    assert "+    max_in_flight: 3" in dry.stderr
    assert not [name for name, _ in fake.calls if name == "pipelines.apply"]
    fake.answers["pipelines.apply"] = replace(PIPELINE_VIEW, revision=4)
    assert "changed, revision 4" in tidegate("pipeline", "apply", "-f", "-", "--yes", text=text).stdout
    assert fake.calls[-1] == ("pipelines.apply", {"definition": changed, "expected": Expected(tags=("3",))})


def test_apply_changes_nothing_without_consent(tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("pipeline", "apply", "-f", "-", text=GOOD.replace("all", "first"))
    assert result.exit_code == 3
    assert "this will change 1 definition: pass --yes to go on" in result.stderr
    assert {name for name, _ in fake.calls} == {"pipelines.get"}


def test_apply_creates_what_is_not_there_and_pipelines_first(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers |= {"pipelines.get": errors.NotFound("no"), "jobs.get": errors.NotFound("no")}
    text = f"{JOB}---\n{GOOD}"
    dry = tidegate("pipeline", "apply", "-f", "-", "--dry-run", "-o", "json", text=text)
    assert [item["result"] for item in json.loads(dry.stdout)] == ["would create", "would create"]
    done = tidegate("pipeline", "apply", "-f", "-", "-o", "json", "-y", text=text)
    assert [(item["kind"], item["result"]) for item in json.loads(done.stdout)] == [
        ("Pipeline", "created, revision 3"),
        ("Job", "created"),
    ]
    assert ("pipelines.apply", {"definition": PIPELINE, "expected": Expected(is_new=True)}) in fake.calls


def test_a_job_is_not_changed_behind_anybodys_back(tidegate: Invoke, fake: FakeApp) -> None:
    fake.answers["jobs.apply"] = errors.PreconditionFailed("changed meanwhile")
    result = tidegate("pipeline", "apply", "-f", "-", "-y", text=GOOD + JOB.replace("2.1.0", "3.0.0"))
    assert result.exit_code == 6
    assert "unchanged" in result.stdout
    assert fake.calls[-1][1]["expected"] == Expected(tags=(job_tag(JOB_VIEW),))


def test_a_file_is_previewed_and_compared_with_a_job(tidegate: Invoke, fake: FakeApp) -> None:
    result = tidegate("pipeline", "preview", "-", "--job", "shop-update", text=GOOD + JOB)
    subject = Subject(job="shop-update", definition=PIPELINE)
    assert fake.calls == [("preview.show", {"subject": subject, "salt": None, "first": 10})]
    assert "97 devices in a stage, 3 in none" in result.stderr
    assert "since run run-0: 1 new, 2 gone, 3 in another stage" in result.stderr
    assert json.loads(tidegate("pipeline", "preview", "-", "-o", "json", text=GOOD).stdout)["salt"] == "5a17"
    assert tidegate("pipeline", "preview", "-", text=JOB).exit_code == 1
    assert tidegate("job", "preview", "shop-update", "--change", "new").exit_code == 2


def test_a_job_with_values_and_secrets_is_the_same_when_it_is_applied_again(tidegate: Invoke, fake: FakeApp) -> None:
    operation = Operation(app=AppName("shop"), version="2.1.0", env={"A": "x"}, secrets={"B": "s"})
    fake.answers["jobs.get"] = replace(JOB_VIEW, operation=operation, parameters={"l": ("a",)})
    text = JOB.replace("2.1.0}", "2.1.0, env: {A: x, B: {secret: s}}}") + "parameters: {l: [a]}\n"
    assert "unchanged" in tidegate("pipeline", "apply", "-f", "-", text=text).stdout
    assert "create" not in tidegate("pipeline", "apply", "-f", "-", "--dry-run", text=text).stdout


def test_a_diff_is_of_revisions_or_of_a_file(tidegate: Invoke, tmp_path: Path) -> None:
    assert "all: " not in tidegate("pipeline", "diff", "shop").stdout
    file = tmp_path / "shop.yaml"
    file.write_text(GOOD + "  pace: {max_in_flight: 3}\n")
    result = tidegate("pipeline", "diff", "shop", "--file", str(file))
    assert "+    max_in_flight: 3" in result.stdout
    assert "all: pace.max_in_flight default → 3" in result.stderr
    found = json.loads(tidegate("pipeline", "diff", "shop", "--file", str(file), "-o", "json").stdout)
    assert found["changed"] == [{"place": "stages.all.pace.max_in_flight", "old": None, "new": 3}]
    assert tidegate("pipeline", "diff", "other", "--file", str(file)).exit_code == 1


@pytest.mark.parametrize(
    ("health", "is_silent", "said"),
    [("crashed", False, "crashed"), ("", True, "silent"), ("ended", True, "ended, silent")],
)
def test_the_devices_of_a_run_show_who_is_unwell_or_silent_since(
    tidegate: Invoke, fake: FakeApp, health: str, is_silent: bool, said: str
) -> None:
    from controller.app.views import Page
    from tests.controller.http.fake import TARGET

    target = replace(TARGET, health=health, health_detail="shop: out of memory", is_silent=is_silent)
    fake.answers["runs.targets"] = Page(items=(target,))
    assert f" {said} " in tidegate("run", "targets", "run-1").stdout
    assert "shop: out of memory" in tidegate("run", "targets", "run-1", "-o", "wide").stdout


def test_hostile_text_does_not_reach_the_terminal(tidegate: Invoke, fake: FakeApp) -> None:
    from controller.app.views import Page
    from tests.controller.http.fake import TARGET

    target = replace(TARGET, reason="\x1b[2J[red]gone[/]")
    fake.answers["runs.targets"] = Page(items=(target,))
    result = tidegate("run", "targets", "run-1")
    assert "\x1b" not in result.stdout
    assert "[red]gone[/]" in result.stdout


def test_connection_errors_are_tried_again_with_one_key_for_an_act(
    tidegate: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    keys: list[str | None] = []

    class Broken(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            tries.append(request.method)
            keys.append(request.headers.get("Idempotency-Key"))
            raise httpx.ConnectError("refused")

    monkeypatch.setattr(client, "open_transport", lambda _context: Broken())
    monkeypatch.setattr(client._again, "sleep", lambda _seconds: None)
    result = tidegate("run", "list")
    assert (result.exit_code, tries) == (1, ["GET"] * client.ATTEMPTS_MAX)
    assert "https://tidegate cannot be reached: refused" in result.stderr
    tries.clear()
    keys.clear()
    assert tidegate("run", "start", "shop-update").exit_code == 1
    assert tries == ["POST"] * client.ATTEMPTS_MAX
    assert len(set(keys)) == 1
    assert keys[0]


def test_an_answer_that_is_no_problem_document_is_an_error(tidegate: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    class Proxy(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(403, text="<html>proxy</html>")

    monkeypatch.setattr(client, "open_transport", lambda _context: Proxy())
    result = tidegate("run", "list")
    assert result.exit_code == 4
    assert "answered 403" in result.stderr


def test_every_command_has_help(tidegate: Invoke) -> None:
    app = build()
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for registered in group.typer_instance.registered_commands:
            result = tidegate(str(group.name), str(registered.name), "--help")
            assert result.exit_code == 0
            assert "--output" in result.stdout


@pytest.mark.timeout(20)
def test_a_file_without_end_is_refused(tidegate: Invoke) -> None:
    result = tidegate("pipeline", "lint", "/dev/zero")
    assert result.exit_code == 1
    assert "expected at most 1000000" in result.stderr
