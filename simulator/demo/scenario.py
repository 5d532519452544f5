"""The demo's story, step by step, on an installation of its own."""

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from controller.app.views import RunView
from controller.clock import SystemClock
from controller.domain.states import StageState
from simulator.demo.cast import Cast
from simulator.demo.exhibit import Exhibit
from simulator.demo.scenes import APP, REGION, SCENES, Scene
from simulator.demo.screen import Screen
from simulator.demo.story import BUILT_IN, HEALTHY, NOTHING, Played, Service, Story
from simulator.installation import Installation, InstallationFailed, RealAgent
from simulator.operations import Operator, sign
from simulator.package import build, example
from simulator.processes import Processes

AGENT_REGION: Final = "eu"
"""Where the real agents are: every release that works, works for them."""
ONLINE_SECONDS: Final = 60.0
ONLINE_SECONDS_EACH: Final = 0.02
COUNT_SECONDS: Final = 0.3
MISSING_SHOWN_MAX: Final = 8
RUN_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1


class Scenario:
    """One demonstration. Its steps are called in the order in which they stand here."""

    def __init__(self, cast: Cast, *, folder: Path, processes: Processes, screen: Screen) -> None:
        """Take who plays, where, who runs the processes, and who speaks."""
        self._cast = cast
        self._folder = folder
        self._processes = processes
        self._screen = screen
        self._agents: list[RealAgent] = []
        self._jobs: set[str] = set()
        self._played: list[Played] = []
        self.installation: Installation | None = None

    def play(self) -> Story:
        """Play everything and return what happened.

        Raises:
            InstallationFailed, ProcessFailed, RunTooLong: when something does not come up or to an end.
            controller.cli.failures.CliError: when the controller refuses something.
        """
        installation = self._begin()
        with installation.operator() as operator:
            self._gather(installation, operator)
            for scene in SCENES:
                self._screen.title(scene.title)
                self._played.append(self._play(installation, operator, scene))
            return self._look_around(operator)

    # --- before ---------------------------------------------------------------------------------------------

    def _begin(self) -> Installation:
        self._screen.say("making keys, roots and certificates (tidegate init)")
        self.installation = Installation.create(self._folder, self._processes)
        if self._cast.broker is not None:
            self._screen.say(f"starting {self._cast.broker} (tidegate broker config {self._cast.broker})")
            broker = self.installation.go_through(self._cast.broker)
            self._screen.say(f"{self._cast.broker} takes devices at {broker.devices}, over mutual TLS")
        self._screen.say("starting the controller (tidegate serve)")
        self.installation.serve()
        self._screen.say(f"the controller is ready at {self.installation.url}")
        return self.installation

    def _gather(self, installation: Installation, operator: Operator) -> None:
        """Bring the fleet up, simulated and real."""
        cast = self._cast
        self._screen.say(f"enrolling {cast.devices} simulated devices and {cast.agents} real agents")
        claim = operator.new_claim(uses=cast.total * 2)
        summary = self._processes.logs / "simulate.json"
        installation.simulate(*cast.options, "-o", "json", claim=claim, stdout=summary)
        self._agents = [installation.agent(f"box-{number + 1}") for number in range(cast.agents)]
        with self._screen.counting() as show:
            installation.enrol(self._agents, claim=claim, on_wait=lambda: self._show_count(operator, show))
            for number, agent in enumerate(self._agents):
                ring = {"ring": "canary"} if number == 0 else {}
                operator.label(agent.device, region=AGENT_REGION, **ring)
                agent.run(app=APP)
            online = self._await_online(operator, show)
        rest = "" if online == cast.total else "; the others are offline on purpose and come later"
        self._screen.say(f"{online} of {cast.total} devices are connected{rest}")

    def _show_count(self, operator: Operator, show: Callable[[str], None]) -> frozenset[str]:
        """Show how many devices there are, and return those that are connected."""
        is_online = {view.device: view.online for view in operator.devices()}
        online = frozenset(device for device, is_there in is_online.items() if is_there)
        show(f"{len(is_online)} of {self._cast.total} devices enrolled, {len(online)} connected")
        return online

    def _await_online(self, operator: Operator, show: Callable[[str], None]) -> int:
        """Wait until all are connected that are not away on purpose; return how many are."""
        expected = self._cast.steady | {agent.device for agent in self._agents}
        until = time.monotonic() + ONLINE_SECONDS + self._cast.total * ONLINE_SECONDS_EACH
        while True:
            self._processes.check()
            online = self._show_count(operator, show)
            if expected <= online:
                return len(online)
            if time.monotonic() > until:
                missing = _in_short(expected - online)
                raise InstallationFailed(f"{len(online)} of {self._cast.total} devices connected; missing: {missing}")
            time.sleep(COUNT_SECONDS)

    # --- a scene --------------------------------------------------------------------------------------------

    def _play(self, installation: Installation, operator: Operator, scene: Scene) -> Played:
        """Do what a scene is about, follow its run to the end, and return what became of it."""
        meant = _meant(operator, scene)
        if not scene.takes_back:
            self._publish(installation, operator, scene)
            self._define(operator, scene)
        exhibit = self._exhibit(operator, scene)
        begun = time.monotonic()
        run = self._begin_run(operator, scene)
        for stage in scene.promotes:
            self._screen.say(f"an operator promotes stage {stage}")
            operator.act(run.id, "promote", stage=stage)
        view = self._screen.follow(lambda: self._look(operator, run.id, exhibit), seconds_max=RUN_SECONDS)
        self._screen.say(f"run {run.id} {view.state}{_why(view)}")
        seconds = time.monotonic() - begun
        targets, asked = tuple(operator.targets(run.id)), exhibit.asked if exhibit else None
        return Played(scene=scene, view=view, targets=targets, seconds=seconds, meant=meant, asked=asked)

    def _exhibit(self, operator: Operator, scene: Scene) -> Exhibit | None:
        """Hold a device that is there throughout and is no canary, a real one where there are enough."""
        if scene.holds is None:
            return None
        steady = self._cast.steady | {agent.device for agent in self._agents}
        able = (view for view in operator.devices() if view.device in steady and "ring" not in view.labels)
        held = min(able, key=lambda view: (view.labels.get(REGION) != AGENT_REGION, view.device))
        return Exhibit(operator, self._screen, device=held.device, reason=scene.holds)

    def _define(self, operator: Operator, scene: Scene) -> None:
        """Apply the pipeline of a scene and make its job, unless an earlier one did."""
        if scene.job not in self._jobs:
            operator.apply(example("pipelines") / f"{scene.job}.yaml")
            operator.create_job(scene.job, pipeline=scene.job, app=APP, version=scene.version)
            self._jobs.add(scene.job)

    def _begin_run(self, operator: Operator, scene: Scene) -> RunView:
        if scene.takes_back:
            undone = self._played[-1].view.id
            run = operator.roll_back(undone, reason="the demo takes it back")
            self._screen.say(f"run {run.id} takes back what {undone} has reached (tidegate run rollback {undone})")
        else:
            run = operator.start(scene.job, version=scene.version)
            self._screen.say(f"run {run.id} started (tidegate run start {scene.job} --version {scene.version})")
        return run

    def _publish(self, installation: Installation, operator: Operator, scene: Scene) -> None:
        package = build(example(APP), scene.version, out=self._folder / "build", left_out=scene.left_out)
        what = f"{APP} {package.version}"
        self._screen.say(f"signing {what} with the offline release key, and publishing it ({package.length} bytes)")
        at = SystemClock().now()
        document = sign(package, app=APP, offline=installation.offline, at=at, floor=scene.floor)
        operator.upload(package)
        operator.publish(document)

    def _look(self, operator: Operator, run: str, exhibit: Exhibit | None) -> RunView:
        self._processes.check()
        view = operator.run(run)
        if exhibit is not None:
            exhibit.look(view)
        return view

    # --- after ----------------------------------------------------------------------------------------------

    def _look_around(self, operator: Operator) -> Story:
        """See what every device has, and how the real services answer."""
        self._screen.say("looking at every device and at the real services")
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            story = Story(
                seconds=self._screen.seconds,
                broker=str(self._cast.broker or BUILT_IN),
                expected_devices=self._cast.total,
                runs=tuple(self._played),
                versions=_versions(operator),
                services={agent.device: _service(agent) for agent in self._agents},
            )
            if _is_settled(story) or time.monotonic() > until:
                return story
            time.sleep(_POLL_SECONDS)


def _in_short(names: AbstractSet[str]) -> str:
    shown = ", ".join(sorted(names)[:MISSING_SHOWN_MAX])
    return shown if len(names) <= MISSING_SHOWN_MAX else f"{shown} and {len(names) - MISSING_SHOWN_MAX} more"


def _why(view: RunView) -> str:
    """Return why a run ended as it did: its own reason, or that of the stages that failed."""
    reasons = [f"stage {one.name} {one.state}: {one.reason}" for one in view.stages if one.state == StageState.FAILED]
    why = view.reason or "; ".join(reasons)
    return f": {why}" if why else ""


def _meant(operator: Operator, scene: Scene) -> frozenset[str]:
    """Return the devices that a scene is to bring to its version: those with its labels, without its model."""
    labels = scene.reaches
    if labels is None:
        return frozenset()
    return frozenset(
        view.device
        for view in operator.devices()
        if labels.items() <= view.labels.items() and view.model != scene.quarantines
    )


def _versions(operator: Operator) -> dict[str, str]:
    return {
        device.device: next((one.version for one in device.installed if one.app == APP), NOTHING)
        for device in operator.devices()
    }


def _service(agent: RealAgent) -> Service:
    status, version = agent.health()
    return Service(status=status, version=version)


def _is_settled(story: Story) -> bool:
    are_well = all(service.status == HEALTHY for service in story.services.values())
    return are_well and story.versions == story.versions_meant
