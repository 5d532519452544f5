"""A run's timeline in words: who did what and why, which stage came how far, and the numbers that decided it.

>>> said({"kind": "paused", "data": {"text": "operator:tills freeze", "by": "ann"}})
'ann paused the run: tills freeze'
>>> said({"kind": "paused", "data": {"text": "breach:eu", "evidence": "3 of 14 started failed; stops on failure 3"}})
'the gate of stage eu was breached: 3 of 14 started failed; stops on failure 3; the run is paused'
"""

from collections.abc import Mapping
from typing import Any, Final

from controller.cli.reasons import OPERATOR

STOPPED: Final = "stop-everything"
WITHDRAWN: Final = "withdrawn:"

_OF_STAGES: Final[Mapping[str, str]] = {
    "awaiting_promotion": "stage {stage} waits for somebody to promote it",
    "approved": "{by} approved stage {stage}: {text}",
    "promoted": "{by} promoted stage {stage}",
    "opened": "stage {stage} opened",
    "soaking": "stage {stage} has succeeded and soaks",
    "passed": "stage {stage} passed",
    "failed": "stage {stage} failed: {text}",
    "skipping": "{by} passes over stage {stage}: {text}",
    "skipped": "stage {stage} was skipped: {text}",
    "cancelled": "stage {stage} was cancelled: {text}",
    "timed_out": "stage {stage} ran out of time: {text}",
    "breached": "the gate of stage {stage} was breached: {evidence}; the run goes on",
    "crashes": "updated devices of stage {stage} crash more than those held back: {evidence}; the run goes on",
    "metric": "metric {text} is worse on updated devices of stage {stage}: {evidence}; the run goes on",
    "discharged": "stage {stage} updates those that it held back: {text}",
    "silent": "stage {stage}: {text}",
    "check_pass": "check {text} of stage {stage} passes: {evidence}",
    "check_fail": "check {text} of stage {stage} fails: {evidence}",
    "check_no_data": "nobody answers check {text} of stage {stage}: {evidence}",
    "check_answered": "{by} answered a check of stage {stage}, {text}: {evidence}",
    "quarantined": "{text} is quarantined: {evidence}; stage {stage} and the run go on without it",
    "few_held_back": "stage {stage} holds back too few to be stopped by metric {text}",
    "left_out": "stage {stage} leaves out: {text}",
    "dry_run": "rule {text}, on trial in stage {stage}, would have stopped it: {evidence}",
    "dry_run_ended": "stage {stage}: {text}",
}
_OF_RUNS: Final[Mapping[str, str]] = {
    "started": "{by} started the run",
    "resumed": "{by} let the run go on: {text}",
    "readmitted": "{by} readmitted {text}",
    "frozen": "the run stands in freeze {text}",
    "thawed": "the freeze is over: the run goes on",
    "terminating": "{by} ended the run: {text}",
    "succeeded": "the run succeeded",
    "failed": "the run failed: {text}",
    "terminated": "the run was terminated: {text}",
    "timed_out": "the run ran out of time: {text}",
    "rolling_back": "the devices that were reached are taken back when the run has ended: {text}",
    "rolled_back": "run {text} takes the devices back that were reached",
    "not_rolled_back": "no device is taken back: {text}",
}
_HOLDS: Final[Mapping[str, str]] = {
    "breach:": "the gate of stage {} was breached",
    "ramp:": "the ramp of stage {} has nothing left to risk",
    "crashes:": "updated devices of stage {} crash more than those held back",
    "metric:": "metric {1} is worse on updated devices of stage {0}",
    "check:": "check {} failed",
    "no_data:": "nobody answers check {}",
    "telemetry:": "what stage {} does is out of sight",
}
"""What a run is held for that was found out by itself: how its reason begins, and what the rest of it is put into."""


def said(entry: Mapping[str, Any]) -> str:
    """Return an entry of a timeline in words; what this program does not know yet, as it is written."""
    kind, data = str(entry["kind"]), entry["data"]
    if kind == "paused":
        return _paused(data)
    if kind == "lifted":
        return f"{_by(data)} lifted {_reason(data.get('text', ''))}; other reasons still hold the run"
    template = (_OF_STAGES if "stage" in data else _OF_RUNS).get(kind)
    if template is None:
        return " ".join([kind, *(f"{name}={value}" for name, value in data.items())])
    words = {"by": _by(data), **{name: data.get(name, "") for name in ("stage", "text", "evidence")}}
    return template.format(**words).removesuffix(": ")


def _by(data: Mapping[str, Any]) -> str:
    return str(data.get("by") or "somebody").removeprefix("trigger:")


def _paused(data: Mapping[str, Any]) -> str:
    text = str(data.get("text", ""))
    evidence = f": {data['evidence']}" if "evidence" in data else ""
    for prefix, words in _HOLDS.items():
        if text.startswith(prefix):
            return f"{words.format(*text.removeprefix(prefix).split(':'))}{evidence}; the run is paused"
    if text.startswith(WITHDRAWN):
        return f"{_by(data)} withdrew version {text.removeprefix(WITHDRAWN)}; the run is held and cannot be resumed"
    if text == STOPPED:
        return f"{_by(data)} stopped everything" if "by" in data else "everything is stopped: the run is paused"
    return f"{_by(data)} paused the run: {_reason(text)}"


def _reason(text: str) -> str:
    return text.removeprefix(OPERATOR)
