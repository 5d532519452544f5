"""A run as a tree in the terminal: per stage its state, the eight counters as one bar, rate, time left, and gate.

Every class of devices has a sign of its own in the bar, so that nothing is said by colour alone.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from controller.app.views import CheckView, ControlView, Counters, GateView, MetricView, RunView, StageView
from controller.cli.pulse import Pulse, total_of
from controller.cli.reasons import told_reasons
from controller.documents.units import render_span
from controller.domain.quarantine import said
from controller.domain.wording import are, counted
from protocol.units import HOUR, MINUTE, SECOND

BAR_WIDTH: Final = 32
RESTRAINTS: Final = ("held", "pinned")
"""Why a device does not begin before a person lets it."""


class Class(NamedTuple):
    """One of the eight counters: its words, its sign in the bar, and its colour."""

    words: str
    sign: str
    style: str


CLASSES: Final = {
    "succeeded": Class("succeeded", "█", "green"),
    "in_progress": Class("in progress", "▒", "cyan"),
    "failed": Class("failed", "x", "bold red"),
    "timed_out": Class("timed out", "t", "red"),
    "rejected": Class("rejected", "r", "yellow"),
    "cancelled": Class("cancelled", "c", "magenta"),
    "removed": Class("removed", "-", "bright_black"),
    "queued": Class("queued", "·", "bright_black"),
}
GLYPHS: Final = {
    "blocked": ("○", "bright_black"),
    "awaiting_promotion": ("?", "bold yellow"),
    "rolling_out": ("▶", "cyan"),
    "soaking": ("◷", "cyan"),
    "passed": ("✓", "green"),
    "succeeded": ("✓", "green"),
    "running": ("▶", "cyan"),
    "failed": ("✗", "bold red"),
    "timed_out": ("✗", "red"),
    "terminated": ("■", "red"),
    "cancelled": ("■", "magenta"),
    "skipped": ("↷", "bright_black"),
}
PAUSED: Final = ("‖", "bold yellow")


def render_run(run: RunView, pulse: Pulse | None = None) -> RenderableType:
    """Return a run as something that rich can print.

    Args:
        run: the run as the API or the use cases give it.
        pulse: what is remembered of the run; with it, rate and time left are shown, unless the run is paused.
    """
    tree = Tree(_header(run), guide_style="bright_black")
    if run.paused:
        pulse = None
    for stage in run.stages:
        tree.add(_stage(stage, pulse))
    return tree


def summary(stage: StageView) -> str:
    """Return a stage in one line, for logs."""
    counts = ", ".join(f"{getattr(stage.counters, name)} {kind.words}" for name, kind in _present(stage.counters))
    reason = f" ({stage.reason})" if stage.reason else ""
    return f"{stage.name}: {_stage_state(stage)}{reason}{f'; {counts}' if counts else ''}"


def headline(run: RunView) -> str:
    """Return what a run is and how it stands, in one line."""
    return f"{run.id}: {state_of(run)}; {run.app} {run.version}, job {run.job}, pipeline {run.pipeline} r{run.revision}"


def state_of(run: RunView) -> str:
    """Return a run's state in words, with what it waits for and why."""
    words = [_words(run.state)]
    if run.ended_at is None and run.paused:
        words.append(f"paused ({', '.join(told_reasons(run.pause_reasons))})")
    if run.frozen is not None:
        words.append(f"frozen until {_moment(run.frozen.ends_at)} by {run.frozen.name}: {run.frozen.reason}")
    if run.ended_at is None and run.waiting:
        words.append("waiting for a promotion")
    held = 0 if run.paused or run.frozen is not None else _restrained(run)
    if held:
        words.append(f"waiting for {counted(held, 'device')} that {are(held)} held or pinned")
    if run.reason:
        words.append(run.reason)
    return ", ".join(words)


def _restrained(run: RunView) -> int:
    """Return how many devices wait for an operator to let them go, where all others of the stages so far are done."""
    opened = [stage for stage in run.stages if stage.opened_at is not None]
    queued = sum(stage.counters.queued for stage in opened)
    held = sum(stage.blocked.get(reason, 0) for stage in opened for reason in RESTRAINTS)
    is_busy = any(stage.counters.in_progress or stage.state == "soaking" for stage in opened)
    return 0 if is_busy or held != queued else held


def _header(run: RunView) -> Text:
    glyph, style = PAUSED if run.paused and run.ended_at is None else GLYPHS.get(run.state, ("•", ""))
    text = Text.assemble((f"{glyph} ", style), (run.id, "bold"), "  ", (state_of(run), style))
    return text.append(f"  {run.app} {run.version}  job {run.job}  pipeline {run.pipeline} r{run.revision}")


def _stage(stage: StageView, pulse: Pulse | None) -> RenderableType:
    glyph, style = GLYPHS.get(stage.state, ("•", ""))
    line = Text.assemble((f"{glyph} ", style), (f"{stage.name:<16} ", "bold"), (f"{_stage_state(stage):<19}", style))
    if stage.reason:
        line.append(f" {stage.reason}", style)
    if stage.opened_at is None:
        if stage.needs and stage.state == "blocked":
            line.append(f" after {', '.join(stage.needs)}", "bright_black")
        if stage.approvals or stage.approvals_missing:
            line.append(f" {_approvals(stage)}", "bright_black")
        return line
    return Group(line, _bar_line(stage, pulse), *_blocked_line(stage), *gate_lines(stage))


def _blocked_line(stage: StageView) -> list[Text]:
    """Say how many devices may not begin yet, and why."""
    said = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(stage.blocked.items()))
    return [Text(f"not yet: {said}", "yellow")] if said else []


def _approvals(stage: StageView) -> str:
    """Return who approved a stage that has not begun, and how many are missing."""
    given = f"approved by {', '.join(one.by for one in stage.approvals)}" if stage.approvals else ""
    missing = f"{stage.approvals_missing} more to approve" if stage.approvals_missing else ""
    return "; ".join(filter(None, (given, missing)))


def _bar_line(stage: StageView, pulse: Pulse | None) -> Text:
    line = bar(stage.counters)
    total = total_of(stage.counters)
    line.append(f"  {counted(total, 'device')}{': ' if total else ''}")
    for index, (name, kind) in enumerate(_present(stage.counters)):
        line.append(", " if index else "").append(f"{getattr(stage.counters, name)} {kind.words}", kind.style)
    if stage.per_minute is not None and stage.ended_at is None:
        line.append(f"  at most {stage.per_minute:,} a minute", "bright_black")
    if stage.bricked:
        line.append(f", {stage.bricked} broken", "bold red")
    if stage.unwell:
        line.append(f", {stage.unwell} unwell or silent since", "bold red")
    rate = pulse.rate(stage) if pulse else None
    if rate is not None and stage.ended_at is None:
        line.append(f"  {rate.per_minute:,.0f}/min", "bright_black")
        if rate.left_ms is not None:
            line.append(f"  {_about(rate.left_ms)} left", "bright_black")
    return line


def gate_lines(stage: StageView) -> list[Text]:
    """Return what the gate of an open stage says, and all that stands beside it, a line each."""
    gate = stage.gate
    style = "bold red" if gate.is_breached else "yellow" if gate.failed else "bright_black"
    lines = [Text(f"gate: {gate.said}", style), *_model_lines(gate)]
    if gate.proof is not None:
        lines.append(Text(f"proof: {gate.proof.said}", "bright_black"))
    if gate.control is not None:
        lines += [_control_line(gate.control), *map(_metric_line, gate.control.metrics)]
    lines += [Text(f"{rule.name}, on trial, {rule.said}", "bright_black") for rule in gate.dry_runs if rule.breach]
    lines += [Text(f"ramp: {stage.ramp}", "bright_black")] if stage.ramp else []
    return [*lines, *map(_check_line, stage.checks)]


def _control_line(group: ControlView) -> Text:
    style = "bold red" if group.is_breached else "yellow" if group.updated.crashed else "bright_black"
    held = f"; {group.left} held back" if group.left else ""
    return Text(f"control: {group.said}{held}", style)


def _metric_line(metric: MetricView) -> Text:
    style = "bold red" if metric.is_breached else "yellow" if metric.value > 1 else "bright_black"
    alone = f"; {counted(metric.unpaired, 'device')} compared with nobody" if metric.unpaired else ""
    return Text(f"metric {metric.name}: {metric.said}{alone}", style)


def _check_line(check: CheckView) -> Text:
    style = {"fail": "bold red", "no_data": "yellow", "pass": "green"}.get(check.verdict, "bright_black")
    trial = " (dry run)" if check.dry_run else ""
    return Text(f"{check.said}{trial}", style)


def quarantines(gate: GateView) -> list[str]:
    """Return which models of a stage are quarantined, and why, a sentence each."""
    return [f"{said(one.model)} is quarantined: {one.breach.said}" for one in gate.models if one.breach is not None]


def _model_lines(gate: GateView) -> list[Text]:
    """Say which models are quarantined and why, and which is next."""
    lines = [Text(line, "bold red") for line in quarantines(gate)]
    closest = next((one for one in gate.models if one.model == gate.closest), None)
    if closest is not None:
        text = f"closest: {said(closest.model)}, {closest.failed} of {closest.exposed} started failed"
        lines.append(Text(f"{text}; stops on failure {closest.stops_on}", "yellow"))
    return lines


def bar(counters: Counters, width: int = BAR_WIDTH) -> Text:
    """Return the eight counters as one bar; a class that has any device has at least one cell."""
    text = Text()
    for (_, kind), cells in zip(_present(counters), _cells(counters, width), strict=True):
        text.append(kind.sign * cells, kind.style)
    return text or Text("·" * width, "bright_black")


def _present(counters: Counters) -> list[tuple[str, Class]]:
    return [(name, kind) for name, kind in CLASSES.items() if getattr(counters, name)]


def _cells(counters: Counters, width: int) -> list[int]:
    """Share *width* cells among the classes that have devices, at least one each, the rest by size."""
    counts = [getattr(counters, name) for name, _ in _present(counters)]
    cells = [max(1, count * width // sum(counts)) for count in counts]
    while sum(cells) != width and counts:
        step = 1 if sum(cells) < width else -1
        due = [step * (count / sum(counts) - cell / width) for count, cell in zip(counts, cells, strict=True)]
        allowed = [index for index, cell in enumerate(cells) if step > 0 or cell > 1]
        cells[max(allowed, key=due.__getitem__)] += step
    return cells


def _stage_state(stage: StageView) -> str:
    """Return a stage's state in words, with how many devices a passed stage still has at work."""
    at_work = stage.counters.in_progress
    return f"passed, tail of {at_work}" if stage.state == "passed" and at_work else _words(stage.state)


def _words(state: str) -> str:
    return state.replace("_", " ")


def _moment(instant: int) -> str:
    """Return a time to the second.

    >>> _moment(1767225600123)
    '2026-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(instant // SECOND, tz=UTC).isoformat().replace("+00:00", "Z")


def _about(span_ms: int) -> str:
    """Return a span, rounded to what one wants to know of it.

    >>> _about(5_423_000), _about(61_234), _about(900)
    ('1h30m', '1m', '1s')
    """
    unit = MINUTE if span_ms >= MINUTE else SECOND
    if span_ms >= 10 * HOUR:
        unit = HOUR
    return render_span(max(1, span_ms // unit) * unit)
