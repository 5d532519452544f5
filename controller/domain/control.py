"""A stage's control group: devices that are held back and only watched, and what is known by comparing with them.

The rules this module keeps:

1. Who is held back is drawn when the membership is fixed, by a hash of its own, so that it depends neither on the order
   of the rollout nor on how devices fare. It is never more than the share; of two devices it is one.
2. Control devices are in no number of their stage. They have a tally of their own until they are discharged: once the
   stage has passed they join its tail, queued. Nobody joins them.
3. Devices are compared within a model. Those of a model without a control device are judged as without a control group,
   and so is whoever begins after the discharge: what they tell counts as a failure.
4. Changes count in the order in which they arrive. A control device is at risk from its success until its mark. An
   updated one is so from its command on, since its success may be on its way: more updated devices at risk are never
   more evidence. So delays, and how reports fall into batches, never make a good build look worse.
5. A mark takes its device out of those at risk; only the first bad one is a crash. Who leaves otherwise is no event.
6. Numbers are compared in pairs, where the stage has metrics (`controller.domain.metrics`).

>>> from controller.domain.target import TargetState
>>> done = {"before": TargetState.QUEUED, "after": TargetState.SUCCEEDED, "model": "k1"}
>>> held = begun({"k1": 1})
>>> held = counted(held, [Delta(**done, is_control=True, watched=1, at_risk=1), Delta(**done, watched=1, at_risk=1)])
>>> crash = Delta(before=TargetState.SUCCEEDED, after=TargetState.SUCCEEDED, model="k1", at_risk=-1, crashed=1)
>>> held.strata, said(counted(held, [crash]), alpha=0.01)
({'k1': AtRisk(updated=1, control=1)}, '1 of 1 updated crashed, 0 of 1 held back; evidence 1.7 of 100')
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from controller.domain.counters import Tally, folded
from controller.domain.gates import odds
from controller.domain.gates.judgement import LOG_SHOWN_MAX, shown
from controller.domain.gates.logrank import Crash, after_crash
from controller.domain.metrics import MetricRun
from controller.domain.selector import position
from controller.domain.target import Delta
from protocol.ids import DeviceId

STRATA_MAX: Final = 64
"""How many models of a stage are compared, those with most control devices."""


Places = tuple[int, int | None]
"""The first position of some devices in the order of their stage, and the first after them, None where none is."""
EVERYWHERE: Final[Places] = (0, None)


class AtRisk(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices of one model are watched of which nothing was told, of either kind."""

    updated: int = 0
    control: int = 0


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """Of one kind of devices: how many were ever `watched`, how many of them `crashed`, and how many told numbers."""

    watched: int = 0
    crashed: int = 0
    measured: int = 0


class ControlBreach(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison knew when it was breached, at a run time, and in words. Later marks change it no more."""

    at: int
    updated: Arm
    control: Arm
    evidence: str


class ControlRun(msgspec.Struct, frozen=True, kw_only=True):
    """The control group of a stage at work.

    `held` devices were held back, on the first positions of the stage; `tally` has those that still are. `strata` are
    those at risk by model, `evidence` what they have shown. `accepted` is the number of crashes of updated devices over
    which a person resumed the run, `breach` the newest breach. `metrics` are those of which a pair told, by name.
    `discharged_at` is how long the stage had been open, less freezes, when the first of them were discharged.
    """

    held: int
    tally: Tally
    strata: Mapping[str, AtRisk] = {}
    updated: Arm = Arm()
    control: Arm = Arm()
    evidence: odds.Evidence = odds.Evidence()
    accepted: int = 0
    breach: ControlBreach | None = None
    metrics: Mapping[str, MetricRun] = {}
    discharged_at: int | None = None

    @property
    def dischargeable(self) -> int:
        """How many of them could be discharged now: all but those at work, and those that left the fleet."""
        return self.tally.targets - self.tally.in_progress - self.tally.removed


def chosen(devices: Sequence[DeviceId], *, share_percent: float, salt: str) -> frozenset[DeviceId]:
    """Return which devices of a stage are held back.

    Args:
        devices: all of them, each once.
        share_percent: the share that is held back at most, above 0 and at most 50.
        salt: that of the run.

    >>> members = [DeviceId(f"kiosk-{number}") for number in range(40)]
    >>> sorted(chosen(members, share_percent=5, salt="s1")), chosen(members[:1], share_percent=5, salt="s1")
    (['kiosk-25', 'kiosk-6'], frozenset())
    """
    count = max(math.floor(len(devices) * share_percent / 100), 1 if len(devices) > 1 else 0)
    return frozenset(sorted(devices, key=lambda device: position(device, salt=f"{salt}\0control"))[:count])


def begun(models: Mapping[str, int]) -> ControlRun:
    """Return the control group of a stage when its membership is fixed, by the number of devices of each model."""
    compared = [model for model, _ in Counter(models).most_common(STRATA_MAX)]
    held = sum(models.values())
    return ControlRun(held=held, tally=Tally(queued=held), strata={model: AtRisk() for model in sorted(compared)})


def counted(group: ControlRun, deltas: Iterable[Delta], *, tolerated: float = 1.0) -> ControlRun:
    """Return a control group after the changes of any devices of its stage, in the order in which they arrived."""
    changes = list(deltas)
    strata, evidence = dict(group.strata), group.evidence
    for delta in changes:
        model, here = delta.model or "", strata.get(delta.model or "")
        if here is not None and delta.crashed:
            evidence = after_crash(evidence, _crash(here, delta), tolerated=tolerated)
        if here is not None and delta.at_risk:
            strata[model] = _moved(here, delta)
    held, others = ([one for one in changes if one.is_control is is_held] for is_held in (True, False))
    return msgspec.structs.replace(
        group,
        tally=folded(group.tally, held),
        strata=strata,
        updated=_arm(group.updated, others),
        control=_arm(group.control, held),
        evidence=evidence,
    )


def discharged(group: ControlRun, deltas: Sequence[Delta], *, open_for: int) -> ControlRun:
    """Return a control group without devices that were discharged, each of which has its change to `queued`."""
    tally = folded(group.tally, deltas)
    since = open_for if group.discharged_at is None else group.discharged_at
    left = msgspec.structs.replace(tally, queued=tally.queued - len(deltas))
    strata = dict(group.strata)
    for delta in deltas:
        model, here = delta.model or "", strata.get(delta.model or "")
        if here is not None and delta.at_risk:
            strata[model] = _moved(here, delta)
    return msgspec.structs.replace(group, tally=left, strata=strata, discharged_at=since)


def is_breached(group: ControlRun, *, alpha: float) -> bool:
    """Say whether updated devices crash too often: there is evidence, and more have crashed than were accepted."""
    return group.updated.crashed > group.accepted and group.evidence.log >= odds.threshold(alpha)


def breached(group: ControlRun, *, alpha: float, now: int) -> ControlRun:
    """Return a control group that keeps what is known at a run time as its newest breach."""
    found = said(group, alpha=alpha)
    breach = ControlBreach(at=now, updated=group.updated, control=group.control, evidence=found)
    return msgspec.structs.replace(group, breach=breach)


def accepted(group: ControlRun) -> ControlRun:
    """Return a control group over whose crashes so far a person has gone on."""
    return msgspec.structs.replace(group, accepted=group.updated.crashed)


def is_compared(group: ControlRun | None, model: str | None, *, is_control: bool) -> bool:
    """Say whether what a device that begins now tells after its success is compared, and blames nobody."""
    if group is None or group.discharged_at is not None:
        return False
    return is_control or model in group.strata


def is_matched(group: ControlRun, place: int) -> bool:
    """Say whether numbers of the updated device at a place in the order of its stage are compared.

    They are of as many as are held back, the first ones. If whoever tells first were compared instead, as long as
    somebody is left to compare with, those would be the fastest devices, beside some that are held back of any kind.
    """
    return group.held <= place < 2 * group.held


def places(group: ControlRun | None, *, is_control: bool) -> Places:
    """Return where devices of one kind stand in the order of their stage."""
    if group is None or (group.discharged_at is not None and not is_control):
        return EVERYWHERE
    return (0, group.held) if is_control else (group.held, None)


def value(group: ControlRun) -> float:
    """Return the evidence itself, as far as a number can."""
    return math.exp(min(group.evidence.log, LOG_SHOWN_MAX))


def said(group: ControlRun, *, alpha: float) -> str:
    """Return what is known by a comparison, in words."""
    crashes = f"{group.updated.crashed} of {group.updated.watched} updated crashed"
    held = f"{group.control.crashed} of {group.control.watched} held back"
    return f"{crashes}, {held}; evidence {shown(value(group))} of {shown(1 / alpha)}"


def _crash(here: AtRisk, delta: Delta) -> Crash:
    """Return a first crash; who was not known to be at risk is so until then."""
    unseen = 0 if delta.at_risk < 0 else 1
    updated, control = (0, unseen) if delta.is_control else (unseen, 0)
    return Crash(is_treated=not delta.is_control, treated=here.updated + updated, control=here.control + control)


def _moved(here: AtRisk, delta: Delta) -> AtRisk:
    updated, control = (0, delta.at_risk) if delta.is_control else (delta.at_risk, 0)
    moved = AtRisk(updated=here.updated + updated, control=here.control + control)
    assert min(moved.updated, moved.control) >= 0, f"more devices of a model are at risk no more than were: {moved}"
    return moved


def _arm(arm: Arm, deltas: Iterable[Delta]) -> Arm:
    changes = list(deltas)
    return Arm(
        watched=arm.watched + sum(delta.watched for delta in changes),
        crashed=arm.crashed + sum(delta.crashed for delta in changes),
        measured=arm.measured + sum(delta.measured for delta in changes),
    )
