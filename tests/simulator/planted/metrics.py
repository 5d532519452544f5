"""Bugs in metrics: who is paired with whom, which of their numbers count, and what comes of them."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent.core import measures as agent
from controller.app import commands, pairing, reports
from controller.app.commands import Maker
from controller.app.records import TargetRecord
from controller.domain import metrics, run
from controller.domain.gates import judgement, sign
from controller.domain.gates.odds import Evidence
from controller.domain.pipeline import Worse
from controller.domain.target import Target, machine, measures
from protocol.health import HEALTH, MEASURE
from simulator.virtual.laws.measures import MeasuresAreFew
from simulator.virtual.laws.metrics import MetricsHold
from simulator.virtual.laws.pairs import PairsAreFair
from simulator.virtual.models import MODELS
from tests.simulator.planted.planted import planted, wrap

Partners = Callable[..., list[TargetRecord]]
MANY = 1_000


@planted("A device that is held back is compared again whenever it tells newer numbers.", PairsAreFair)
def held_back_are_paired_again(patch: pytest.MonkeyPatch) -> None:
    def around(measured: Any) -> Any:
        def anew(target: Target, *rest: Any) -> Any:
            return measured(msgspec.structs.replace(target, is_paired=False) if target.is_control else target, *rest)

        return anew

    wrap(patch, machine, "measured", around)


@planted("Numbers of devices of all models are compared.", PairsAreFair, first_seed=210)
def partners_are_of_any_model(patch: pytest.MonkeyPatch) -> None:
    def mixed(partners: Partners, stage_id: int, *, model: str, limit: int, **since: Any) -> list[TargetRecord]:
        found = [row for name in {model, *MODELS} for row in partners(stage_id, model=name, limit=limit, **since)]
        return sorted(found, key=lambda row: row.id)[:limit]

    _asking(patch, mixed)


@planted("Numbers of a device that is gone for long are compared.", PairsAreFair)
def stale_numbers_are_compared(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, pairing, "FRESH_SPANS", lambda spans: spans * MANY)


@planted("An updated device is compared with whoever told the largest number.", PairsAreFair)
def partners_are_chosen_by_their_numbers(patch: pytest.MonkeyPatch) -> None:
    def largest(partners: Partners, stage_id: int, *, limit: int, **others: Any) -> list[TargetRecord]:
        found = partners(stage_id, limit=MANY, **others)
        return sorted(found, key=lambda row: max(row.target.measures.values()), reverse=True)[:limit]

    _asking(patch, largest)


@planted("Whoever tells first is compared, as long as somebody is left to compare with.", PairsAreFair)
def who_tells_first_is_compared(patch: pytest.MonkeyPatch) -> None:
    for module in (pairing, commands):
        wrap(patch, module, "is_matched", lambda _: lambda *_: True)


def _asking(patch: pytest.MonkeyPatch, ask: Callable[..., list[TargetRecord]]) -> None:
    """Have the store asked for partners in another way, which is given the right one first."""

    def around(matches: Any) -> Any:
        def otherwise(advance: Any, rows: Any) -> Any:
            watches = SimpleNamespace(partners=partial(ask, advance.tx.watches.partners))
            asking = SimpleNamespace(at=advance.at, record=advance.record, tx=SimpleNamespace(watches=watches))
            return matches(asking, rows)

        return otherwise

    wrap(patch, pairing, "matches", around)


@planted("Of a device that is held back the first numbers count, not the newest.", PairsAreFair)
def first_numbers_count_of_all(patch: pytest.MonkeyPatch) -> None:
    def around(is_awaited: Any) -> Any:
        return lambda target: target.measured_at is None and is_awaited(target)

    wrap(patch, measures, "_is_awaited", around)


@planted("What a device told while it was held back counts for the build that it gets.", PairsAreFair)
def numbers_outlive_the_discharge(patch: pytest.MonkeyPatch) -> None:
    def around(is_awaited: Any) -> Any:
        return lambda target: is_awaited(msgspec.structs.replace(target, is_compared=True))

    wrap(patch, measures, "_is_awaited", around)


@planted("Each pair is counted twice.", MetricsHold)
def pairs_count_twice(patch: pytest.MonkeyPatch) -> None:
    def around(pair: Any) -> Any:
        def twice(plan: Any, before: Any, event: Any) -> Any:
            pairs = {index: (*some, *some) for index, some in event.pairs.items()}
            return pair(plan, before, msgspec.structs.replace(event, pairs=pairs))

        return twice

    wrap(patch, run, "_pair", around)


@planted("A metric that is worse when it is lower is taken for one that is worse when it is higher.", MetricsHold)
def lower_is_taken_for_better(patch: pytest.MonkeyPatch) -> None:
    def around(after: Any) -> Any:
        return lambda known, pair, metric: after(known, pair, msgspec.structs.replace(metric, worse=Worse.HIGHER))

    wrap(patch, metrics, "_after", around)


@planted("Equal numbers count for the build.", MetricsHold)
def equal_numbers_count(patch: pytest.MonkeyPatch) -> None:
    def around(after_pair: Any) -> Any:
        def strict(evidence: Evidence, *, treated: float, control: float) -> Any:
            if treated == control:
                return evidence.after(null=0.5, failed=False)
            return after_pair(evidence, treated=treated, control=control)

        return strict

    wrap(patch, sign, "after_pair", around)


@planted("Each metric has the whole alpha of its run.", MetricsHold)
def alpha_of_metrics_is_not_shared(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, judgement, "metric_alpha_of", lambda _: lambda pipeline, *_: pipeline.alpha_percent / 100)


@planted("A breach is forgotten once somebody goes on over it.", MetricsHold, first_seed=40)
def breach_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def around(accepted: Any) -> Any:
        return lambda known: msgspec.structs.replace(accepted(known), breach=None)

    wrap(patch, metrics, "accepted", around)


@planted("A person who lets a run go on is stopped by the same pairs again.", MetricsHold, first_seed=40)
def nothing_is_accepted(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, metrics, "accepted", lambda _: lambda known: known)


@planted("A metric that was accepted once stops no more.", MetricsHold, first_seed=690)
def accepted_once_for_all(patch: pytest.MonkeyPatch) -> None:
    def around(is_breached: Any) -> Any:
        return lambda known, **rules: known.breach is None and is_breached(known, **rules)

    wrap(patch, metrics, "is_breached", around)


@planted("A device measures although its last report is not acknowledged.", MeasuresAreFew)
def many_measures_are_open(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, agent, "may_file", lambda _: lambda _durable, _kind: True)


@planted("Every device is asked to tell numbers, whatever its agent can do.", MeasuresAreFew)
def everybody_is_asked_to_measure(patch: pytest.MonkeyPatch) -> None:
    def around(capabilities: Any) -> Any:
        def all_of_them(self: Any, targets: Any) -> Any:
            return {name: (*can, MEASURE) for name, can in capabilities(self, targets).items() if HEALTH in can}

        return all_of_them

    wrap(patch, Maker, "_capabilities", around)


@planted("What an updated device tells is compared each time.", PairsAreFair)
def each_report_is_paired(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, reports, "_is_told", lambda _: lambda _before, after: bool(after.measures) and not after.is_control)
