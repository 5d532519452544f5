"""Carry out the steps of the work, one at a time and in order, in a thread of their own.

What a step comes to is one event: `Finished` or `Inspected`, as the core expects. A bundle of releases
succeeds or fails together: they are installed in order and rolled back in the opposite one. Measures take their turn
here, too: newer work ends the watch that asks for them, so that none waits for a step.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from agent.clock import boottime_ms
from agent.core.effects import Clean, Commit, Download, Inspect, Install, Measure, RollBack, Verify
from agent.core.events import Finished, Found, Inspected, Measured, Progressed
from agent.core.model import NOTHING_TOLD, Fault, Told, Work
from agent.errors import Aborted, OutputsRefused, StepFailed
from agent.fetch import Fetcher
from agent.installers.port import Installer, Job
from agent.logs import fields
from protocol.ids import AppName, RunId
from protocol.outputs import Outputs, OutputValue, check_size
from protocol.reasons import Reason

log = logging.getLogger(__name__)

Step = Download | Install | Inspect | Verify | Commit | RollBack
Asked = Step | Clean | Measure
Result = Finished | Inspected | Measured | Progressed
PROGRESS_MS: Final = 1_000


class _Task:
    """What is, or will be, carried out."""

    def __init__(self, step: Asked, emit: Callable[[Result], None]) -> None:
        self.step = step
        self.called_off = threading.Event()
        self._emit = emit
        self._told_at: int | None = None
        self.before = 0

    def progressed(self, done: int, total: int) -> None:
        """Pass progress on, at most once a second."""
        now = boottime_ms()
        assert isinstance(self.step, Step), "nothing else makes progress"
        if self._told_at is not None and now - self._told_at < PROGRESS_MS and done < total:
            return
        self._told_at = now
        work = self.step.work
        sum_total = sum(release.length for release in work.releases)
        self._emit(Progressed(at=now, run=work.run, attempt=work.attempt, done=self.before + done, total=sum_total))


class Steps:
    """The worker. `emit` is called from its thread."""

    def __init__(self, fetcher: Fetcher, installers: Mapping[str, Installer], emit: Callable[[Result], None]) -> None:
        self._fetcher = fetcher
        self._installers = installers
        self._emit = emit
        self._tasks: queue.Queue[_Task | None] = queue.Queue()
        self._open: list[_Task] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="steps", daemon=True)

    def start(self) -> None:
        """Begin to carry steps out."""
        self._thread.start()

    def ask(self, step: Asked) -> None:
        """Carry *step* out after those that were asked for before."""
        task = _Task(step, self._emit)
        with self._lock:
            self._open.append(task)
        self._tasks.put(task)

    def attend(self, apps: frozenset[AppName]) -> None:
        """Have the installers look after the health of *apps*, and of no others; does not wait for a step."""
        for installer in self._installers.values():
            installer.attend(apps)

    def abort(self) -> None:
        """Call off every step that was asked for so far."""
        with self._lock:
            for task in self._open:
                task.called_off.set()

    def stop(self, *, seconds: float) -> None:
        """Call everything off and wait for the thread, no longer than *seconds*."""
        self.abort()
        self._tasks.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._carry_out(task)
            except Exception:
                log.exception("step_crashed")
                self._tell_of_crash(task.step)
            with self._lock:
                self._open.remove(task)

    def _tell_of_crash(self, step: Asked) -> None:
        """End what failed by a fault of ours: the core waits for the end of all but a clean-up."""
        if isinstance(step, Step):
            self._finish(step.work, Fault(reason=Reason.OTHER, detail="the agent failed in this step; see its log"))
        elif isinstance(step, Measure):
            self._emit(_measured(step, Told(remark="no outputs are reported: the agent failed; see its log")))

    def _carry_out(self, task: _Task) -> None:
        step = task.step
        if isinstance(step, Clean):
            self._clean()
        elif isinstance(step, Measure):
            self._emit(_measured(step, self._tell(step)))
        else:
            self._carry_step_out(task, step)

    def _carry_step_out(self, task: _Task, step: Step) -> None:
        log.info("step_started", extra=fields(step=step.work.phase, run=step.work.run, attempt=step.work.attempt))
        fault = None
        try:
            if task.called_off.is_set():
                raise Aborted("called off before it began")
            if isinstance(step, Inspect):
                self._emit(self._inspect(task, step.work))
                return
            self._do(task, step)
        except Aborted:
            fault = Fault(reason=Reason.INTERRUPTED, detail="called off")
        except StepFailed as error:
            fault = Fault(reason=error.reason, detail=error.detail)
        told = self._told(task, step.work) if isinstance(step, Verify) else NOTHING_TOLD
        self._finish(step.work, fault, told=told)

    def _told(self, task: _Task, work: Work) -> Told:
        """Return what the releases of a bundle told."""
        parts = (installer.outputs(job) for job, installer in self._jobs(task, work))
        return _together(parts, run=work.run, attempt=work.attempt)

    def _tell(self, asked: Measure) -> Told:
        """Return what apps tell now; every installer is asked, for nothing says whose an app is."""
        parts = (installer.tell(app) for app in asked.apps for installer in self._installers.values())
        return _together(parts, run=asked.run, attempt=asked.attempt)

    def _finish(self, work: Work, fault: Fault | None, *, told: Told = NOTHING_TOLD) -> None:
        reason = fault.reason if fault else None
        log.info("step_finished", extra=fields(step=work.phase, run=work.run, attempt=work.attempt, reason=reason))
        at = boottime_ms()
        self._emit(Finished(at=at, run=work.run, attempt=work.attempt, phase=work.phase, fault=fault, told=told))

    def _do(self, task: _Task, step: Step) -> None:
        match step:
            case Download():
                self._download(task, step.work)
            case Install():
                for job, installer in self._jobs(task, step.work):
                    installer.install(job)
            case Verify():
                for job, installer in self._jobs(task, step.work):
                    installer.verify(job)
            case Commit():
                for job, installer in self._jobs(task, step.work):
                    installer.commit(job)
            case RollBack():
                self._roll_back(task, step.work)
            case Inspect():
                raise AssertionError("an inspection has a result of its own")

    def _download(self, task: _Task, work: Work) -> None:
        keep = frozenset(release.sha256 for release in work.releases)
        for release in work.releases:
            self._fetcher.fetch(release.sha256, release.length, task, keep=keep)
            task.before += release.length
        for job, installer in self._jobs(task, work):
            installer.prepare(job)

    def _jobs(self, task: _Task, work: Work) -> Iterable[tuple[Job, Installer]]:
        for release in work.releases:
            artifact = self._fetcher.path_of(release.sha256)
            job = Job(work=work, release=release, artifact=artifact, called_off=task.called_off)
            yield job, self._installers[release.installer]

    def _roll_back(self, task: _Task, work: Work) -> None:
        """Roll all releases back, the last one first, even where one of them cannot be."""
        failed: StepFailed | None = None
        for job, installer in reversed(list(self._jobs(task, work))):
            try:
                installer.roll_back(job)
            except StepFailed as error:
                failed = error
        if failed is not None:
            raise failed

    def _inspect(self, task: _Task, work: Work) -> Inspected:
        """Say what is active: a bundle of which some are new and some old is broken."""
        found = {installer.inspect(job) for job, installer in self._jobs(task, work)}
        verdict = found.pop() if len(found) == 1 else Found.BROKEN
        return Inspected(at=boottime_ms(), run=work.run, attempt=work.attempt, found=verdict)

    def _clean(self) -> None:
        try:
            self._fetcher.clean()
            for installer in self._installers.values():
                installer.clean()
        except OSError as error:
            log.warning("clean_up_failed", extra=fields(error=error))


def _together(parts: Iterable[Outputs], *, run: RunId, attempt: int) -> Told:
    """Return outputs of several apps as one, under one name the last one's; all of it or nothing."""
    outputs: dict[str, OutputValue] = {}
    try:
        for part in parts:
            outputs |= part
        check_size(outputs)
    except (OutputsRefused, ValueError) as error:
        log.warning("outputs_refused", extra=fields(run=run, attempt=attempt, error=error))
        return Told(remark=f"no outputs are reported: {error}")
    return Told(outputs=outputs)


def _measured(asked: Measure, told: Told) -> Measured:
    return Measured(at=boottime_ms(), run=asked.run, attempt=asked.attempt, told=told)
