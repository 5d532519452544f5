"""The operators: they start, pause, resume, promote, terminate, edit, label, group and block, at any instant.

While faults are in force they act at random. Once the world is healed they bring everything to its end: unblock who
is blocked, resume what is paused, promote what waits.
"""

import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from controller.app import devices, freezes, giving_up, groups, pipelines, reruns, runs, standstill
from controller.app.access import Actor, Role
from controller.app.controller import Controller
from controller.app.errors import (
    ApprovalsMissing,
    ControllerError,
    KeyReused,
    OwnWork,
    ReleaseDeprecated,
    ReleaseWithdrawn,
)
from controller.app.records import RunRecord
from controller.domain.states import StageState
from controller.domain.target import TargetState
from protocol.units import later
from simulator.virtual.answers import Tellers
from simulator.virtual.consenters import Consenters
from simulator.virtual.draws import RINGS, VERSIONS
from simulator.virtual.fleet import Fleet
from simulator.virtual.laws.law import Asked, Named
from simulator.virtual.oracle import Oracle
from simulator.virtual.pipelines import DEVICES_MAX, GROUPS
from simulator.virtual.readmitter import Readmitter
from simulator.virtual.release_team import ReleaseTeam
from simulator.virtual.remover import Remover
from simulator.virtual.repeats import Repeats
from simulator.virtual.restrainer import Restrainer
from simulator.virtual.server import Server
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

ACTOR: Final = Actor(name="ann", role=Role.ADMIN)
REASON: Final = "drawn"
SETTLE_MS: Final = 5_000
HURRY_EVERY: Final = 4
HURRY_MS: Final = 1_000
REFUSALS: Final = {
    ReleaseWithdrawn.slug: Sometimes.WITHDRAWN_NOT_STARTED,
    ReleaseDeprecated.slug: Sometimes.WITHDRAWN_NOT_STARTED,
    ApprovalsMissing.slug: Sometimes.APPROVALS_MISSED,
    OwnWork.slug: Sometimes.OWN_WORK,
    KeyReused.slug: Sometimes.KEY_REUSED,
}
"""What refusals show that a world has met a rare path."""
RERUN_LAST: Final = 3
"""Of so many of the newest runs one is tried again or taken back: devices have moved on from the others."""
CANCELLED_EVERY: Final = 2
"""Of so many retries one takes the devices that were cancelled, too."""

Use = Callable[[Controller], Coroutine[Any, Any, Any]]


class Operator:
    """Acts on one world, by what is seen from outside."""

    def __init__(self, world: World, server: Server, oracle: Oracle, fleet: Fleet) -> None:
        self._world = world
        self._server = server
        self._oracle = oracle
        self._picture = oracle.picture
        self._chance = world.chance("operator")
        self._rare = world.chance("rare acts")
        self._calendar = world.chance("calendar")
        self._repeats = Repeats(world)
        self._freeze_count = 0
        self._consenters = Consenters(world, oracle.picture, self._ask)
        self._again = world.chance("reruns")
        self._cancelled = world.chance("reruns/cancelled")
        self._readmitter = Readmitter(world, oracle.picture, self._ask)
        self._restrainer = Restrainer(world, oracle.picture, self._ask)
        self._remover = Remover(world, server, oracle, fleet, ask=self._ask)
        self._acts: dict[str, Callable[[], None]] = {
            "start": self._start,
            "pause": self._pause,
            "resume": self._resume,
            "terminate": self._terminate,
            "promote": self._promote,
            "edit": self._edit,
            "label": self._label,
            "group": self._group,
            "block": self._block,
            "look": self._look,
        }
        self._tellers = Tellers(world, oracle, ask=self._ask, active=lambda: self.active)
        self._team = ReleaseTeam(world, server, oracle.picture, ask=self._ask)

    def begin(self) -> None:
        """Act now and then, and at times twice in a hurry, as long as faults are in force."""
        is_hurried = not self._chance.randrange(HURRY_EVERY)
        gap_ms = HURRY_MS if is_hurried else self._world.draws.operator.gap_ms
        self._world.scheduler.after(1 + int(self._chance.expovariate(1) * gap_ms), self._act)

    def begin_rare_acts(self) -> None:
        """Where that is drawn, stop everything now and then, and decide what a run waits for no longer."""
        self._team.begin()
        self._restrainer.begin()
        self._restrainer.begin_paths()
        self._remover.begin()
        self._readmitter.begin()
        draws = self._world.draws.operator
        if draws.stop_gap_ms:
            self._after(draws.stop_gap_ms, self._stop_everything)
        if draws.decide_gap_ms:
            self._after(draws.decide_gap_ms, self._decide)
        if draws.freeze_gap_ms:
            self._after(draws.freeze_gap_ms, self._freeze, chance=self._calendar)
        self._consenters.begin()
        self._tellers.begin()
        if draws.rerun_gap_ms:
            self._after(draws.rerun_gap_ms, self._rerun, chance=self._again)

    def _after(self, gap_ms: int, act: Callable[[], None], *, chance: random.Random | None = None) -> None:
        def unless_healed() -> None:
            if not self._world.is_healed:
                act()

        self._world.scheduler.after(1 + int((chance or self._rare).expovariate(1) * gap_ms), unless_healed)

    def _act(self) -> None:
        if self._world.is_healed:
            return
        weights = self._world.draws.operator.weights
        self._acts[self._chance.choices(list(weights), list(weights.values()))[0]]()
        self.begin()

    def settle(self) -> None:
        """Bring everything to its end, again and again."""
        self._restrainer.settle()
        if any(standstill.STOP_EVERYTHING in run.run.pause_reasons for run in self.active):
            self._lift()
        for run in self.active:
            if self._consenters.settle(run):
                continue
            if run.run.is_paused:
                act = partial(runs.resume, run=run.uid, override=True, reason=REASON)
                self._ask("resume", run.uid, act, is_override=True)
            for stage in self._stages(run, StageState.AWAITING_PROMOTION):
                self._ask("promote", f"{run.uid}/{stage}", partial(runs.promote, run=run.uid, stage=stage))
        for device_id in sorted(self._picture.blocked - self._picture.removed):
            device = self._picture.devices[device_id].device
            self._ask("unblock", device, partial(devices.unblock, device=device, reason=REASON))
        self._team.settle()
        self._tellers.settle()
        self._world.scheduler.after(SETTLE_MS, self.settle)

    @property
    def active(self) -> list[RunRecord]:
        """The runs that have not ended."""
        return [run for run in self._picture.runs.values() if not run.run.state.is_terminal]

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(
        self,
        act: str,
        subject: str,
        use: Callable[..., Coroutine[Any, Any, Any]],
        *,
        actor: Actor = ACTOR,
        is_override: bool = False,
    ) -> None:
        person = self._repeats.named(actor, act)
        send = partial(self._send, act, subject, use, is_override=is_override)
        send(person)
        self._repeats.again(person, partial(send, is_first=False))

    def _send(
        self,
        act: str,
        subject: str,
        use: Callable[..., Coroutine[Any, Any, Any]],
        actor: Actor,
        *,
        is_override: bool,
        is_first: bool = True,
    ) -> None:
        """Ask; what a repetition is told may be old news, and is no news for laws that judge by the newest."""
        self._world.say("operator", f"asks to {act} {subject}{'' if is_first else ' again'}")
        is_named = actor.request is not None
        asked = self._oracle.asked(act, subject, by=actor.name, is_named=is_named, is_override=is_override)
        self._server.request(
            lambda controller: use(controller, actor),
            answered=lambda answer: self._answered(asked, actor, answer, is_first=is_first),
            failed=lambda error: self._failed(asked, actor, error),
        )

    def _answered(self, asked: Asked, actor: Actor, answer: Any, *, is_first: bool) -> None:
        self._world.say("operator", f"is told that {asked.act} {asked.subject} is done")
        self._oracle.answered(asked, is_done=is_first)
        if actor.request is not None:
            self._oracle.named(Named(actor.name, actor.request, _plain(answer)))

    def _failed(self, asked: Asked, actor: Actor, error: ControllerError | None) -> None:
        if error is None:
            self._world.sometimes(Sometimes.ACT_UNANSWERED)
        elif error.slug in REFUSALS:
            self._world.sometimes(REFUSALS[error.slug])
        self._world.say("operator", f"is not told that {asked.act} {asked.subject} is done: {error or 'no answer'}")
        self._oracle.answered(asked, is_done=False)
        if actor.request is not None and error is not None:
            self._oracle.named(Named(actor.name, actor.request, error=error.slug))

    # --- acts ---------------------------------------------------------------------------------------------------

    def _any(self, chance: random.Random | None = None) -> RunRecord | None:
        found = self.active
        return (chance or self._chance).choice(found) if found else None

    def _start(self) -> None:
        job = self._chance.choice(self._world.draws.pipelines).name
        bad = self._world.draws.builds.version
        version = self._chance.choice((None, *VERSIONS, *((None, bad) if bad else ())))
        self._ask("start", job, partial(runs.start, job=job, version=version))

    def _pause(self) -> None:
        run = self._any()
        if run is not None:
            if self._count(run, TargetState.IN_PROGRESS):
                self._world.sometimes(Sometimes.PAUSED_IN_FLIGHT)
            self._ask("pause", run.uid, partial(runs.pause, run=run.uid, reason=REASON))

    def _resume(self) -> None:
        run = self._any()
        if run is not None:
            override = bool(self._chance.randrange(2))
            if override and any(reason.startswith("breach:") for reason in run.run.pause_reasons):
                self._world.sometimes(Sometimes.RESUMED_OVER_BREACH)
            act = partial(runs.resume, run=run.uid, override=override, reason=REASON)
            self._ask("resume", run.uid, act, is_override=override)

    def _terminate(self) -> None:
        run = self._any()
        if run is not None:
            if self._count(run, TargetState.IN_PROGRESS):
                self._world.sometimes(Sometimes.TERMINATED_IN_FLIGHT)
            self._ask("terminate", run.uid, partial(runs.terminate, run=run.uid, reason=REASON))

    def _promote(self) -> None:
        run = self._any()
        waiting = [] if run is None else self._stages(run, StageState.AWAITING_PROMOTION)
        if run is not None and waiting:
            self._world.sometimes(Sometimes.PROMOTED)
            stage = self._chance.choice(waiting)
            self._ask("promote", f"{run.uid}/{stage}", partial(runs.promote, run=run.uid, stage=stage))

    def _edit(self) -> None:
        definition = self._chance.choice(self._world.draws.pipelines)
        limit = self._chance.randint(1, DEVICES_MAX)
        stages = tuple(
            msgspec.structs.replace(stage, pace=msgspec.structs.replace(stage.pace, max_in_flight=limit))
            for stage in definition.stages
        )
        if any(run.job == definition.name for run in self.active):
            self._world.sometimes(Sometimes.EDITED_IN_RUN)
        changed = msgspec.structs.replace(definition, stages=stages)
        self._ask("edit", definition.name, partial(pipelines.apply, definition=changed))

    def _label(self) -> None:
        device = self._chance.choice(self._world.draws.devices)
        labels = {"ring": self._chance.choice(RINGS)}
        self._ask("label", device, partial(devices.set_labels, device=device, labels=labels))

    def _group(self) -> None:
        device, path = self._chance.choice(self._world.draws.devices), self._chance.choice(GROUPS)
        act, use = self._chance.choice((("add", groups.add_devices), ("drop", groups.drop_devices)))
        self._ask(f"{act} to group {path}", device, partial(use, path=path, devices=[device]))

    def _block(self) -> None:
        device = self._chance.choice(self._world.draws.devices)
        if self._chance.randrange(2):
            self._ask("unblock", device, partial(devices.unblock, device=device, reason=REASON))
            return
        if self.active:
            self._world.sometimes(Sometimes.BLOCKED_IN_RUN)
        self._ask("block", device, partial(devices.block, device=device, reason=REASON))

    def _decide(self) -> None:
        """Skip a stage, or give a device up."""
        run = self._any(self._rare)
        if run is not None:
            (self._skip if self._rare.randrange(2) else self._give_up)(run)
        self._after(self._world.draws.operator.decide_gap_ms, self._decide)

    def _skip(self, run: RunRecord) -> None:
        stage = self._rare.choice(run.plan.pipeline.stages).name
        self._ask("skip", f"{run.uid}/{stage}", partial(runs.skip, run=run.uid, stage=stage, reason=REASON))

    def _give_up(self, run: RunRecord) -> None:
        device = self._rare.choice(self._world.draws.devices)
        act = partial(giving_up.give_up, run=run.uid, device=device, reason=REASON)
        self._ask("give up", f"{run.uid}/{device}", act)

    def _rerun(self) -> None:
        """Try a run again that has ended, or have the devices of any run taken back."""
        found = list(self._picture.runs.values())
        if found:
            run = self._again.choice(found[-RERUN_LAST:])
            is_ended = run.run.state.is_terminal
            version = self._again.choice((None, None, *VERSIONS))
            if is_ended and self._again.randrange(2):
                with_cancelled = not self._cancelled.randrange(CANCELLED_EVERY)
                retry = partial(reruns.retry, run=run.uid, version=version, with_cancelled=with_cancelled)
                self._ask("retry with cancelled" if with_cancelled else "retry", run.uid, retry)
            elif is_ended or not self._again.randrange(8):
                act = partial(reruns.roll_back, run=run.uid, reason=REASON, version=version)
                self._ask("roll back", run.uid, act)
        self._after(self._world.draws.operator.rerun_gap_ms, self._rerun, chance=self._again)

    def _stop_everything(self) -> None:
        if any(self._count(run, TargetState.IN_PROGRESS) for run in self.active):
            self._world.sometimes(Sometimes.STOPPED_IN_FLIGHT)
        self._ask("stop", standstill.EVERYTHING, partial(standstill.stop, reason=REASON))
        self._after(self._world.draws.operator.stop_gap_ms, self._go_on)

    def _go_on(self) -> None:
        if any(standstill.STOP_EVERYTHING in run.run.pause_reasons for run in self.active if run.run.epoch == 1):
            self._world.sometimes(Sometimes.BEGAN_STOPPED)
        self._lift()
        self._after(self._world.draws.operator.stop_gap_ms, self._stop_everything)

    def _lift(self) -> None:
        self._ask("lift", standstill.EVERYTHING, partial(standstill.lift, reason=REASON))

    def _freeze(self) -> None:
        """Add a freeze that holds at once or soon, of all or of some, and remove every other one before its end."""
        chance, now = self._calendar, self._picture.wall_now()
        self._freeze_count += 1
        name = f"f{self._freeze_count}"
        starts_at = chance.choice((None, None, later(now, 20_000)))
        ends_at = later(starts_at or now, chance.choice((5_000, 60_000, 180_000)))
        scope = chance.choice(((), (chance.choice(self._world.draws.pipelines).name,)))
        use = partial(freezes.add, name=name, starts_at=starts_at, ends_at=ends_at, pipelines=scope, reason=REASON)
        self._ask("freeze", name, use)
        if chance.randrange(2):
            self._after(30_000, partial(self._thaw, name), chance=chance)
        self._after(self._world.draws.operator.freeze_gap_ms, self._freeze, chance=chance)

    def _thaw(self, name: str) -> None:
        self._ask("thaw", name, partial(freezes.remove, name=name, reason=REASON))

    def _look(self) -> None:
        run = self._any()
        if run is not None:
            self._ask("look at", run.uid, partial(runs.get, run=run.uid))
            self._ask("look at", run.uid, partial(runs.targets, run=run.uid))

    def _stages(self, run: RunRecord, state: StageState) -> Sequence[str]:
        stages = zip(run.plan.pipeline.stages, run.run.stages, strict=True)
        return [definition.name for definition, stage in stages if stage.state is state]

    def _count(self, run: RunRecord, state: TargetState) -> int:
        return sum(getattr(stage.tally, state.value) for stage in run.run.stages)


def _plain(answer: object) -> object:
    """Return an answer as it would be read from the wire, where a number is one however it is written."""
    return msgspec.json.decode(msgspec.json.encode(answer))
