"""What each simulated device is like, drawn from a seed: how fast, how steady, for which versions it fails.

>>> parse_behaviours("slow=10%,flaky=5%")
{<Behaviour.SLOW: 'slow'>: 10.0, <Behaviour.FLAKY: 'flaky'>: 5.0}
>>> [c.labels["region"] for c in draw(Plan(count=4, seed=7, labels=parse_labels("region=eu:50,region=us:50")))]
['us', 'us', 'eu', 'eu']
"""

import random
from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Final

import msgspec

from protocol.units import SECOND, Millis

PERCENT: Final = 100.0
MEGABYTE: Final = 1_000_000
MODEL: Final = "simulated"
"""What a device says it is, unless something else is asked for."""
DROP_MS: Final = Millis(20 * SECOND)
"""The mean time until a flaky connection drops."""


class Behaviour(StrEnum):
    """What a device is like; whoever is drawn as nothing else is fast."""

    FAST = "fast"
    SLOW = "slow"
    FLAKY = "flaky"
    FAILING = "failing"
    OFFLINE = "offline"


class BadOption(ValueError):
    """An option of the command line cannot be read; the message says what was expected."""


class Character(msgspec.Struct, frozen=True, kw_only=True):
    """One device as drawn. Spans in milliseconds, bandwidth in bytes per second.

    `away_ms` is how long it stays offline at first, `drop_ms` the mean time until a flaky connection drops (0: never),
    `power_share` the share of drops that are power cuts, `break_share` the share of downloads that break off.
    """

    id: str
    seed: str
    behaviour: Behaviour
    labels: Mapping[str, str]
    model: str = MODEL
    bandwidth: int
    step_ms: Millis
    away_ms: Millis = Millis(0)
    drop_ms: Millis = Millis(0)
    power_share: float = 0.0
    break_share: float = 0.0
    fails: frozenset[str] = frozenset()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices to draw, and from what.

    Attributes:
        count: how many.
        seed: the same plan and seed always draw the same devices.
        prefix: their ids are ``<prefix>-0001`` and so on.
        behaviours: the share of each in percent; the rest is fast.
        labels: for each label the weights of its values.
        models: the hardware models, with their weights.
        fail_versions: whose health probe fails, and on devices with which label (``region=us``) or of which model
            (``model=kiosk-3``); with neither, on devices drawn as failing, or on all where none is drawn so.
        away_ms: the longest that a device drawn as offline stays away.
        step_ms: how long every step takes on every device, instead of what is drawn; 0 leaves only what is real.
    """

    count: int
    seed: int = 1
    prefix: str = "sim"
    behaviours: Mapping[Behaviour, float] = {}
    labels: Mapping[str, Mapping[str, float]] = {}
    models: Mapping[str, float] = msgspec.field(default_factory=lambda: {MODEL: 1.0})
    fail_versions: Mapping[str, str] = {}
    away_ms: Millis = Millis(15 * SECOND)
    step_ms: Millis | None = None


def draw(plan: Plan) -> list[Character]:
    """Draw the devices: shares are kept exactly, who gets what depends on the seed alone."""
    kinds = _deal(plan.count, {k.value: v for k, v in _with_rest(plan.behaviours).items()}, f"{plan.seed}/behaviour")
    labels = {key: _deal(plan.count, values, f"{plan.seed}/{key}") for key, values in plan.labels.items()}
    models = _deal(plan.count, plan.models, f"{plan.seed}/hardware")
    return [
        _character(
            plan,
            index,
            Behaviour(kinds[index]),
            labels={key: dealt[index] for key, dealt in labels.items() if dealt[index]},
            model=models[index],
        )
        for index in range(plan.count)
    ]


def _fails(plan: Plan, behaviour: Behaviour, labels: Mapping[str, str], model: str) -> frozenset[str]:
    """Return the versions that fail on one device."""
    own = {f"{key}={value}" for key, value in labels.items()} | {f"model={model}"}
    is_failing = behaviour is Behaviour.FAILING or Behaviour.FAILING not in plan.behaviours
    return frozenset(
        version for version, label in plan.fail_versions.items() if (label in own if label else is_failing)
    )


def _with_rest(behaviours: Mapping[Behaviour, float]) -> dict[Behaviour, float]:
    rest = PERCENT - sum(behaviours.values())
    return {**behaviours, Behaviour.FAST: behaviours.get(Behaviour.FAST, 0.0) + max(0.0, rest)}


def _deal(count: int, weights: Mapping[str, float], seed: str) -> list[str]:
    """Give *count* devices a value each, in the exact shares of *weights* (largest remainder), in random order."""
    total = sum(weights.values())
    quotas = {value: count * weight / total for value, weight in weights.items()}
    counts = {value: int(quota) for value, quota in quotas.items()}
    by_rest = sorted(quotas, key=lambda value: counts[value] - quotas[value])
    for value in by_rest[: count - sum(counts.values())]:
        counts[value] += 1
    dealt = [value for value, number in counts.items() for _ in range(number)]
    random.Random(seed).shuffle(dealt)
    return dealt


def _character(plan: Plan, index: int, behaviour: Behaviour, *, labels: Mapping[str, str], model: str) -> Character:
    name = f"{plan.prefix}-{index + 1:04d}"
    seed = f"{plan.seed}/{name}"
    chance = random.Random(seed)
    is_slow, is_flaky = behaviour is Behaviour.SLOW, behaviour is Behaviour.FLAKY
    bandwidth = int(chance.uniform(0.25, 0.6) * MEGABYTE if is_slow else chance.uniform(2, 20) * MEGABYTE)
    drawn_ms = Millis(int(chance.uniform(50, 400) * (4 if is_slow else 1)))
    return Character(
        id=name,
        seed=seed,
        behaviour=behaviour,
        labels=labels,
        model=model,
        bandwidth=bandwidth,
        step_ms=drawn_ms if plan.step_ms is None else plan.step_ms,
        away_ms=Millis(int(chance.uniform(0.3, 1) * plan.away_ms) if behaviour is Behaviour.OFFLINE else 0),
        drop_ms=Millis(DROP_MS if is_flaky else 0),
        power_share=0.3 if is_flaky else 0.0,
        break_share=0.2 if is_flaky else 0.0,
        fails=_fails(plan, behaviour, labels, model),
    )


def parse_behaviours(text: str) -> dict[Behaviour, float]:
    """Read ``slow=10%,flaky=5%``: the share of each behaviour in percent.

    Raises:
        BadOption: when a behaviour is unknown, or the shares exceed 100 %.
    """
    shares: dict[Behaviour, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, _, share = part.partition("=")
        try:
            shares[Behaviour(word.strip())] = float(share.strip().removesuffix("%"))
        except ValueError as error:
            known = ", ".join(Behaviour)
            raise BadOption(f"behaviour {part!r}: expected name=share as in slow=10%, names are {known}") from error
    if not 0 <= sum(shares.values()) <= PERCENT or min(shares.values(), default=0) < 0:
        raise BadOption(f"behaviours {text!r}: expected shares from 0% that add up to at most 100%")
    return shares


def parse_labels(text: str) -> dict[str, dict[str, float]]:
    """Read ``region=eu:40,region=us:60``: the values of each label with their weights.

    An empty value (``ring=:95``) leaves that many devices without the label.

    Raises:
        BadOption: when a part has another form or a weight is no number above nothing.
    """
    labels: dict[str, dict[str, float]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, rest = part.partition("=")
        value, _, weight = rest.partition(":")
        number = _weight(weight)
        if not (key and equals) or number <= 0:
            raise BadOption(f"label {part!r}: expected key=value:weight, as in region=eu:40")
        labels.setdefault(key, {})[value] = number
    return labels


def parse_models(text: str) -> dict[str, float]:
    """Read ``kiosk-1:60,kiosk-2:40``: the hardware models with their weights; one alone needs none.

    Raises:
        BadOption: when a part has another form, or a weight is no number above nothing.
    """
    models: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        model, _, weight = part.partition(":")
        models[model] = _weight(weight)
        if not model or models[model] <= 0:
            raise BadOption(f"model {part!r}: expected model:weight, as in kiosk-1:60")
    return models


def parse_failing(texts: Sequence[str]) -> dict[str, str]:
    """Read versions that fail, each with what the devices have that it fails on.

    That is a label, as in ``2.0@region=us``, the hardware model, as in ``2.0@model=kiosk-3``, or nothing: ``2.0``.

    Raises:
        BadOption: when a part has another form.
    """
    failing: dict[str, str] = {}
    for text in texts:
        version, at, label = text.partition("@")
        if not version or (at and not all(label.partition("="))):
            raise BadOption(f"version {text!r}: expected a version, or version@label=value as in 2.0@region=us")
        failing[version] = label
    return failing


def _weight(text: str) -> float:
    """Return a weight, 1 where none is given, and 0 for what is no finite number."""
    try:
        weight = float(text or 1)
    except ValueError:
        return 0.0
    return weight if isfinite(weight) else 0.0


def ids(characters: Sequence[Character]) -> list[str]:
    """Return the ids of the devices."""
    return [character.id for character in characters]
