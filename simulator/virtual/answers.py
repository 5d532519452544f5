"""Who answers checks: pages that are asked, and build systems and people who tell by themselves.

They answer as the seed says, each time in other words, so that every answer can be told from all others. Once the
world is healed everything is well, and they say so.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any, Final

import msgspec

from controller.app import checking
from controller.app.access import Actor
from controller.app.consequences import Question
from controller.app.controller import Controller
from controller.app.hooks import Delivery, secret_of, signature_of
from controller.app.records import RunRecord
from controller.domain.checking import open_checks
from controller.domain.gates.checks import UNANSWERED_MS, Answer, AnswerKind, Check, Http, Prometheus, is_pushed
from protocol.units import SECOND
from simulator.virtual.checks import HOOK, LATE_MS_MAX, ChecksDraw
from simulator.virtual.laws.law import Replied
from simulator.virtual.oracle import Oracle
from simulator.virtual.scheduler import suspend
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

REPEAT_MS_MAX: Final = 20 * SECOND
DECIDED_EVERY: Final = 6
"""Of so many words one is that of a person."""

Use = Callable[..., Coroutine[Any, Any, Any]]
Ask = Callable[[str, str, Use], None]
Place = tuple[RunRecord, int, Check]


class Pages:
    """What checks ask; they outlive the controller."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self.world: Final = world
        self.oracle: Final = oracle
        self.chance: Final = world.chance("checks")
        self.count: Final = count(1)

    def draw(self, draws: ChecksDraw) -> tuple[AnswerKind, int]:
        """Return an answer, and how long it takes in milliseconds."""
        if self.world.is_healed:
            return AnswerKind.OK, 1
        kinds = list(draws.weights)
        kind = self.chance.choices(kinds, list(draws.weights.values()))[0]
        if self.chance.random() < draws.late:
            return kind, self.chance.randint(UNANSWERED_MS, LATE_MS_MAX)
        return kind, self.chance.randint(1, draws.delay_ms)


class Page:
    """Implements `controller.app.ports.Asker` for one question."""

    def __init__(self, pages: Pages, question: Question) -> None:
        self._pages = pages
        self._question = question

    async def ask(self, source: Http | Prometheus) -> Answer:
        """Return what is answered, when it has come, and show it."""
        del source
        pages, question, draws = self._pages, self._question, self._pages.world.draws.checks
        assert draws is not None, "nobody is asked where no checks are drawn"
        kind, span_ms = pages.draw(draws)
        await suspend(lambda go_on: pages.world.scheduler.after(span_ms, go_on))
        answer = Answer(kind=kind, evidence=f"answer {next(pages.count)}")
        pages.oracle.replied(
            Replied(question.run_id, question.stage, question.check, answer, sequence=question.sequence)
        )
        return answer


class Tellers:
    """Build systems and people who say how a check went, in worlds that have any."""

    def __init__(self, world: World, oracle: Oracle, *, ask: Ask, active: Callable[[], list[RunRecord]]) -> None:
        """Take how an operator asks for something, and which runs have not ended."""
        self._world = world
        self._oracle = oracle
        self._ask = ask
        self._active = active
        self._chance = world.chance("tellers")
        self._count = count(1)

    def begin(self) -> None:
        """Tell now and then, as long as faults are in force."""
        draws = self._world.draws.checks
        if draws is not None:
            self._in(1 + int(self._chance.expovariate(1) * draws.tell_gap_ms), lambda: self._act(draws))

    def settle(self) -> None:
        """Say that everything is well, to whoever waits for that."""
        for place in self._places():
            if is_pushed(place[2]):
                self._call(place, AnswerKind.OK)

    def _in(self, span_ms: int, act: Callable[[], None]) -> None:
        self._world.scheduler.after(span_ms, lambda: None if self._world.is_healed else act())

    def _act(self, draws: ChecksDraw) -> None:
        places = self._places()
        if places:
            place = self._chance.choice(places)
            kinds = (AnswerKind.OK,) * draws.weights[AnswerKind.OK] + (AnswerKind.FAILED,)
            kind = self._chance.choice(kinds)
            if not self._chance.randrange(DECIDED_EVERY):
                self._decide(place, kind)
            elif is_pushed(place[2]):
                self._call(place, kind)
        self.begin()

    def _places(self) -> list[Place]:
        """Return the checks whose answer is awaited."""
        return [
            (run, index, check)
            for run in self._active()
            for index, (stage, at_work) in enumerate(zip(run.plan.pipeline.stages, run.run.stages, strict=True))
            for check in open_checks(stage, at_work)
            if check.name in at_work.checks
        ]

    def _say(self, place: Place, kind: AnswerKind, *, is_decision: bool) -> Answer:
        run, index, check = place
        answer = Answer(kind=kind, evidence=f"word {next(self._count)}")
        self._oracle.replied(Replied(run.id, index, check.name, answer, is_decision=is_decision))
        return answer

    def _decide(self, place: Place, kind: AnswerKind) -> None:
        run, index, check = place
        stage, said = run.plan.pipeline.stages[index].name, self._say(place, kind, is_decision=True)
        is_ok = kind is AnswerKind.OK
        act = partial(checking.answer, run=run.uid, stage=stage, check=check.name, is_ok=is_ok, reason=said.evidence)
        self._ask("answer", f"{run.uid}/{stage}/{check.name}", act)

    def _call(self, place: Place, kind: AnswerKind) -> None:
        """Call the hook of a run's job, and at times again with the same delivery."""
        run, index, check = place
        said = self._say(place, kind, is_decision=False)
        told = {"run": run.uid, "stage": run.plan.pipeline.stages[index].name, "check": check.name}
        body = msgspec.json.encode(told | {"ok": kind is AnswerKind.OK, "text": said.evidence})
        self._deliver(run.job, said.evidence, body)
        if not self._chance.randrange(3):
            self._world.sometimes(Sometimes.TOLD_TWICE)
            span_ms = self._chance.randint(1, REPEAT_MS_MAX)
            self._in(span_ms, lambda: self._deliver(run.job, said.evidence, body))

    def _deliver(self, job: str, delivery: str, body: bytes) -> None:
        timestamp = str(self._oracle.picture.wall_now() // SECOND)

        def use(controller: Controller, _: Actor) -> Coroutine[Any, Any, Any]:
            secret = secret_of(controller, HOOK)
            signatures = signature_of(secret, id=delivery, timestamp=timestamp, body=body)
            call = Delivery(id=delivery, timestamp=timestamp, signatures=signatures, body=body)
            return checking.receive(controller, job=job, delivery=call)

        self._ask(f"tell the hook of {job}", delivery, use)
