"""Use cases that remember what they were asked and answer from views made here; for tests of the shells above."""

from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import msgspec

from controller.app import errors, views
from controller.app.access import Actor, Permission, Role
from controller.app.controller import Controller
from controller.app.following import News
from controller.app.hooks import Delivery
from controller.app.ports import IssuedCertificate
from controller.domain.parameters import Given
from controller.domain.pipeline import Operation, Pipeline, Stage
from controller.domain.trigger import OnRelease, OnSchedule, StartRequest
from protocol.ids import AppName, Digest, Name, StageName, digest_of
from protocol.units import Instant

AT = Instant(1_767_225_600_123)
BYTES = bytes(range(256)) * 40
DIGEST = digest_of(BYTES)
DOCUMENT = b'{"signed": {}, "signatures": []}'

COUNTERS = views.Counters(queued=40, in_progress=5, succeeded=50, failed=2, rejected=1, timed_out=1, removed=1)
CANARY = views.StageView(
    name="canary",
    needs=(),
    trigger="manual",
    state="passed",
    reason="",
    counters=views.Counters(succeeded=5),
    started=5,
    failures=0,
    gate=views.GateView(
        said="0 of 5 failed, stops above 0", exposed=5, failed=0, stops_on=1, is_breached=False, on_breach="pause"
    ),
    bricked=0,
    max_in_flight=5,
    opened_at=AT,
    ended_at=Instant(AT + 60_000),
)
REST = views.StageView(
    name="rest",
    needs=("canary",),
    trigger="automatic",
    state="rolling_out",
    reason="",
    counters=COUNTERS,
    started=59,
    failures=2,
    gate=views.GateView(
        said="2 of 59 failed, stops above 5 % (3)",
        exposed=59,
        failed=2,
        stops_on=4,
        is_breached=False,
        on_breach="pause",
    ),
    bricked=0,
    outputs={"boot_ms": views.SummaryView(count=55, min=640, max=1_900, avg=812.5)},
    max_in_flight=20,
    opened_at=Instant(AT + 60_000),
    ended_at=None,
)
RUN = views.RunView(
    id="run-1",
    job="shop-update",
    pipeline="shop",
    revision=3,
    app="shop",
    version="2.1.0",
    state="running",
    paused=False,
    waiting=False,
    pause_reasons=(),
    reason="",
    epoch=1,
    salt="5a17",
    started_by="trigger:channel stable",
    created_at=AT,
    ended_at=None,
    stages=(CANARY, REST),
)
TARGET = views.TargetView(
    device="kiosk-1",
    stage="rest",
    state="failed",
    attempt=2,
    attempt_state="failed",
    reason="verify_failed",
    detail="exit code 3",
    left="old",
    outputs={"boot_ms": 840, "load": 0.5, "kernel": "6.1"},
    waits_for="",
    done=0,
    total=0,
    updated_at=AT,
    previous="2.0.0",
    measures={"scan_ms": 190.5},
    is_paired=True,
)
ROLLED_BACK = msgspec.structs.replace(RUN, state="failed", ended_at=AT, rolled_back_by="run-2")
ROLLBACK = views.RollbackView(
    run="run-1",
    ended=False,
    devices=58,
    versions=(views.VersionView(version="1.9.0", devices=8), views.VersionView(version="2.0.0", devices=50)),
    left_out=(views.NotTakenView(reason="broken", devices=1, first=("kiosk-9",)),),
)
PROOF = views.ProofView(
    said="70 of the first 70 are well; proved (fewer than 5 % fail, beta 5 %)",
    counted=70,
    failed=0,
    value=20.5,
    threshold=20.0,
    below_percent=5.0,
    beta_percent=5.0,
    is_proved=True,
)
SLOWER = views.MetricView(
    name="scan_ms",
    said="worse on 4 of 5 updated devices, each beside one held back; evidence 2.1 of 400",
    worse="higher",
    pairs=5,
    worse_pairs=4,
    equal_pairs=0,
    unpaired=3,
    pairs_min=14,
    value=2.1,
    threshold=400.0,
    alpha_percent=0.25,
    is_breached=False,
    accepted=3,
    breached_at=AT,
    evidence="worse on 3 of 3 updated devices",
)
COMPARED = views.ControlView(
    said="2 of 95 updated crashed, 1 of 5 held back; evidence 3.1 of 200",
    held=5,
    left=5,
    updated=views.ArmView(watched=95, crashed=2, measured=8),
    control=views.ArmView(watched=5, crashed=1, measured=5),
    value=3.1,
    threshold=200.0,
    tolerated=1.5,
    alpha_percent=0.5,
    is_breached=False,
    metrics=(SLOWER,),
)
REPLAY = views.ReplayView(
    run="run-1",
    stages=(
        views.ReplayedView(
            stage="rest",
            said="stops on failure 2 of 10 started, 49 devices earlier than the run's own",
            known=True,
            own=views.VerdictView(
                stop=views.BreachView(at=Instant(AT + 9), failed=4, exposed=59, said="4 of 59 started failed"),
                evidence=None,
                evidence_failed=0,
                evidence_exposed=0,
            ),
            other=views.VerdictView(
                stop=views.BreachView(at=AT, failed=2, exposed=10, said="2 of 10 started failed"),
                evidence=123.4,
                evidence_failed=2,
                evidence_exposed=10,
            ),
            spared=49,
            exposed_more=0,
            now="4 of 59 started failed",
            evidence_now=None,
        ),
    ),
    notes=("checks are not judged",),
)
EVENT = views.EventView(id=7, at=AT, kind="stage_opened", data={"stage": "rest", "targets": 100})
DEVICE = views.DeviceView(
    device="kiosk-1",
    name="acme:kiosk-1",
    model="k1",
    labels={"region": "eu"},
    facts={"os": "linux"},
    installed=(views.InstalledView(app="shop", version="2.0.0", sha256=DIGEST, counter=4),),
    online=True,
    blocked=False,
    broken=False,
    agent="1.0.0",
    enrolled_at=AT,
    last_seen_at=None,
    certificate_expires_at=AT,
)
WHY = views.WhyView(
    run="run-1",
    job="shop-update",
    app="shop",
    version="2.0",
    state="running",
    stage="canary",
    facts=(views.FactView(code="offline", text="it is offline for 2 d", change="it connects", until=None),),
)
GROUP = views.GroupView(path="eu/berlin", devices=2, devices_below=5, created_at=AT)
CHANGE = views.GroupChange(path="eu/berlin", found=3, changed=1)
RELEASE = views.ReleaseView(
    app="shop",
    version="2.1.0",
    path="shop/2.1.0/shop.tar.gz",
    sha256=DIGEST,
    length=len(BYTES),
    counter=5,
    floor=4,
    installer="archive",
    hardware=("k1",),
    published_at=AT,
    channels=("stable",),
    state="deprecated",
    state_reason="slow",
    state_by="ann",
    state_at=AT,
)
PIPELINE = Pipeline(name="shop", stages=(Stage(name=StageName("all")),))
PIPELINE_VIEW = views.PipelineView(name="shop", revision=3, definition=PIPELINE, author="ann", created_at=AT)
REVISION = views.RevisionView(
    revision=3,
    definition=PIPELINE,
    previous=Pipeline(name="shop", stages=(Stage(name=StageName("old")),)),
    author="ann",
    created_at=AT,
    archived_at=None,
)
PREVIEW = views.PreviewView(
    job="shop-update",
    pipeline="shop",
    revision=3,
    salt="5a17",
    devices=100,
    placed=97,
    stages=(
        views.PreviewStage(
            name="rest",
            needs=("canary",),
            devices=3,
            first=("kiosk-1",),
            left_out=(
                views.LeftOutView(reason="labels", stage="", devices=94),
                views.LeftOutView(reason="in_stage", stage="canary", devices=3),
            ),
        ),
    ),
    last_run="run-0",
    new=1,
    gone=2,
    moved=3,
    no_way_back_to=("1.9.0", "2.0.0"),
)
PREVIEWED = views.PreviewDevice(device="kiosk-1", stage="canary", reason="in_stage", in_stage="canary", before="")
JOB = views.JobView(
    name="shop-update",
    pipeline="shop",
    operation=Operation(app=AppName("shop"), version="2.1.0"),
    priority=5,
    active_run=None,
    created_at=AT,
    triggers=(OnRelease(channel="stable"), OnSchedule(cron="0 2 * * *", zone="Europe/Berlin")),
    next_at=AT,
    waiting=StartRequest(by="trigger:hook", at=AT, given=Given(parameters={"ring": "one"}, env={"A": "1"})),
    has_hook=True,
)
PATH = views.UpgradePathView(
    app="shop",
    version="2.1.0",
    allowed=">=1.2",
    forbidden="1.3.*",
    through=("2.0",),
    reason="2.0 moves the database",
    by="ann",
    at=AT,
)
CHANNEL = views.ChannelView(app="shop", channel="stable", version="2.1.0", at=AT, actor="ann", runs=("run-1",))
CHECK = views.CheckView(
    name="e2e",
    kind="webhook",
    asked=True,
    verdict="pass",
    said="check e2e: 1 of 1 success in a row",
    oks=1,
    last_at=AT,
)
DELIVERY = views.DeliveryView(run="run-1", waits=False)
TOKEN = views.TokenView(id="t1", name="ci", role="releaser", created_at=AT, expires_at=None, revoked=False)
SECRET = views.NewSecret(id="t2", secret="tg_secret")
AUDIT = views.AuditView(id=1, at=AT, actor="ann", verb="pause", subject="run-1", reason="crashes", hash="ab" * 32)
SECURITY = views.SecurityEventView(id=1, at=AT, device="kiosk-1", code="replay", digest=DIGEST, detail="old")
STANDSTILL = views.StandstillView(stopped=True, since=AT, by="ann", reason="smoke")
FREEZE = views.FreezeView(
    name="sale", starts_at=AT, ends_at=Instant(AT + 1), reason="sale week", pipelines=("shop",), by="ann", created_at=AT
)
HEALTH = views.Health(ready=True, faults=(), online=3, unsent=0)

_P = Permission
NEEDS = {
    "tokens.create": _P.ADMINISTER,
    "tokens.revoke": _P.ADMINISTER,
    "tokens.list_tokens": _P.ADMINISTER,
    "tokens.create_claim": _P.EDIT_DEVICES,
    "devices.set_labels": _P.EDIT_DEVICES,
    "devices.block": _P.EDIT_DEVICES,
    "devices.unblock": _P.EDIT_DEVICES,
    "removing.remove": _P.EDIT_DEVICES,
    "restraining.hold": _P.EDIT_DEVICES,
    "restraining.unhold": _P.EDIT_DEVICES,
    "restraining.pin": _P.EDIT_DEVICES,
    "restraining.unpin": _P.EDIT_DEVICES,
    "groups.create": _P.EDIT_DEVICES,
    "groups.remove": _P.EDIT_DEVICES,
    "groups.add_devices": _P.EDIT_DEVICES,
    "groups.drop_devices": _P.EDIT_DEVICES,
    "releases.upload": _P.PUBLISH,
    "releases.publish": _P.PUBLISH,
    "withdrawal.deprecate": _P.PUBLISH,
    "withdrawal.withdraw": _P.PUBLISH,
    "paths.order": _P.PUBLISH,
    "pipelines.apply": _P.EDIT_PIPELINES,
    "pipelines.archive": _P.EDIT_PIPELINES,
    "jobs.create": _P.EDIT_PIPELINES,
    "jobs.apply": _P.EDIT_PIPELINES,
    "jobs.archive": _P.EDIT_PIPELINES,
    "jobs.set_triggers": _P.EDIT_PIPELINES,
    "hooks.create": _P.EDIT_PIPELINES,
    "hooks.remove": _P.EDIT_PIPELINES,
    "channels.add": _P.CONTROL_RUNS,
    "channels.remove": _P.CONTROL_RUNS,
    "runs.start": _P.CONTROL_RUNS,
    "runs.pause": _P.CONTROL_RUNS,
    "runs.resume": _P.CONTROL_RUNS,
    "runs.readmit": _P.CONTROL_RUNS,
    "runs.terminate": _P.CONTROL_RUNS,
    "runs.promote": _P.PROMOTE,
    "runs.skip": _P.CONTROL_RUNS,
    "approvals.approve": _P.APPROVE,
    "checking.answer": _P.PROMOTE,
    "reruns.retry": _P.CONTROL_RUNS,
    "reruns.roll_back": _P.CONTROL_RUNS,
    "giving_up.give_up": _P.CONTROL_RUNS,
    "freezes.add": _P.CONTROL_RUNS,
    "freezes.remove": _P.CONTROL_RUNS,
    "standstill.stop": _P.STOP_EVERYTHING,
    "standstill.lift": _P.LIFT_STANDSTILL,
}
ANSWERS: dict[str, Any] = {
    "tokens.create": SECRET,
    "tokens.revoke": None,
    "tokens.list_tokens": (TOKEN,),
    "tokens.create_claim": SECRET,
    "devices.list_devices": views.Page(items=(DEVICE,), cursor="next"),
    "devices.get": DEVICE,
    "devices.set_labels": DEVICE,
    "devices.block": None,
    "devices.unblock": None,
    "removing.remove": DEVICE,
    "why.of_run": WHY,
    "why.of_device": views.DeviceWhyView(device="kiosk-1", installed=(), facts=(), runs=(WHY,)),
    "restraining.hold": DEVICE,
    "restraining.unhold": DEVICE,
    "restraining.pin": DEVICE,
    "restraining.unpin": DEVICE,
    "groups.list_groups": (GROUP,),
    "groups.create": GROUP,
    "groups.remove": None,
    "groups.add_devices": CHANGE,
    "groups.drop_devices": CHANGE,
    "releases.publish": (RELEASE,),
    "releases.list_releases": (RELEASE,),
    "withdrawal.deprecate": RELEASE,
    "withdrawal.withdraw": RELEASE,
    "paths.order": PATH,
    "paths.get": PATH,
    "pipelines.apply": PIPELINE_VIEW,
    "pipelines.archive": None,
    "pipelines.list_pipelines": (PIPELINE_VIEW,),
    "pipelines.get": PIPELINE_VIEW,
    "pipelines.history": views.Page(items=(REVISION,), cursor=None),
    "preview.show": PREVIEW,
    "preview.devices": views.Page(items=(PREVIEWED,), cursor=None),
    "jobs.create": JOB,
    "jobs.apply": JOB,
    "jobs.archive": None,
    "jobs.list_jobs": (JOB,),
    "jobs.get": JOB,
    "jobs.set_triggers": JOB,
    "hooks.create": SECRET,
    "hooks.remove": None,
    "channels.add": CHANNEL,
    "channels.remove": None,
    "runs.start": RUN,
    "runs.pause": RUN,
    "runs.resume": RUN,
    "runs.terminate": RUN,
    "runs.promote": RUN,
    "runs.skip": RUN,
    "runs.readmit": RUN,
    "approvals.approve": RUN,
    "checking.answer": RUN,
    "reruns.retry": RUN,
    "reruns.roll_back": ROLLED_BACK,
    "reruns.consequence": ROLLBACK,
    "giving_up.give_up": TARGET,
    "replays.replay": REPLAY,
    "runs.get": RUN,
    "runs.list_runs": views.Page(items=(RUN,)),
    "runs.targets": views.Page(items=(TARGET,), cursor=None),
    "runs.events": (EVENT,),
    "freezes.add": FREEZE,
    "freezes.remove": FREEZE,
    "freezes.list_freezes": (FREEZE,),
    "standstill.stop": STANDSTILL,
    "standstill.lift": STANDSTILL,
    "standstill.get": STANDSTILL,
    "system.security_events": (SECURITY,),
    "system.audit": (AUDIT,),
}


class Artifacts:
    """One artifact, in chunks of at most 1,000 bytes."""

    def size(self, digest: Digest) -> int | None:
        return len(BYTES) if digest == DIGEST else None

    def read(self, digest: Digest, *, start: int, length: int) -> Iterator[bytes]:
        for offset in range(start, start + length, 1_000):
            yield BYTES[offset : min(offset + 1_000, start + length)]


class FakeController(msgspec.Struct):
    """What the HTTP layer itself asks of a controller."""

    artifacts: Artifacts
    release_root: bytes = b'{"signed": "root"}'


class FakeApp:
    """The use cases. `calls` lists every one with its keyword arguments; a list of `answers` is given in turn."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.actors: list[Actor] = []
        self.answers = dict(ANSWERS)
        self.uploaded = b""
        self.delivery = DELIVERY
        self.streams = [[News(entries=(EVENT,)), News(), News(ended=RUN)]]
        self.controller = cast("Controller", FakeController(artifacts=Artifacts()))

    def install(self, patch: Any) -> None:
        """Put these use cases in place of the real ones."""
        for name in self.answers:
            module, _, function = name.partition(".")
            patch.setattr(_module(module), function, self._use_case(name), raising=False)
        special = {
            "tokens.authenticate": self._authenticate,
            "devices.authenticate": self._authenticate_device,
            "devices.enrol": self._enrol,
            "devices.renew": self._renew,
            "releases.upload": self._upload,
            "releases.document": self._document,
            "system.health": self._health,
            "hooks.receive": self._receive,
            "checking.receive": self._told_of_check,
            "following.follow": self._follow,
        }
        for name, use_case in special.items():
            module, _, function = name.partition(".")
            patch.setattr(_module(module), function, use_case, raising=False)

    def _use_case(self, name: str) -> Any:
        async def use_case(c: Controller, actor: Actor, **arguments: Any) -> Any:
            actor.require(NEEDS.get(name, Permission.READ))
            self.actors.append(actor)
            self.calls.append((name, arguments))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return use_case

    async def _authenticate(self, c: Controller, secret: str) -> Actor:
        if secret not in list(Role):
            raise errors.NotAuthenticated("the token is not valid")
        return Actor(name="ann", role=Role(secret))

    async def _authenticate_device(
        self, c: Controller, *, envelope: bytes, method: str, path: str, body: bytes
    ) -> Name:
        if envelope != b"signed":
            raise errors.NotAuthenticated("the request is not signed by a device we know")
        self.calls.append(("devices.authenticate", {"method": method, "path": path, "body": body}))
        return Name("acme:kiosk-1")

    async def _enrol(self, c: Controller, **arguments: Any) -> views.Enrolment:
        self.calls.append(("devices.enrol", arguments))
        if arguments["claim"] != "claim":
            raise errors.NotAuthenticated("the claim token is not valid")
        return views.Enrolment(
            name="acme:kiosk-1",
            certificate_pem="CERT",
            chain_pem="CHAIN",
            fleet_root=b"fleet",
            release_root=b"release",
        )

    async def _renew(self, c: Controller, name: Name, *, csr_pem: str) -> IssuedCertificate:
        self.calls.append(("devices.renew", {"name": name, "csr_pem": csr_pem}))
        return IssuedCertificate(certificate_pem="CERT", chain_pem="CHAIN", serial="1", expires=AT)

    async def _upload(
        self, c: Controller, actor: Actor, *, digest: Digest, length: int, chunks: AsyncIterator[bytes]
    ) -> None:
        actor.require(Permission.PUBLISH)
        self.uploaded = b"".join([chunk async for chunk in chunks])
        self.calls.append(("releases.upload", {"digest": digest, "length": length}))

    async def _document(self, c: Controller) -> bytes:
        return DOCUMENT

    async def _receive(self, c: Controller, *, job: str, delivery: Delivery) -> views.DeliveryView:
        if delivery.signatures != "v1,good":
            raise errors.NotAuthenticated("not signed")
        self.calls.append(("hooks.receive", {"job": job, "delivery": delivery}))
        return self.delivery

    async def _told_of_check(self, c: Controller, *, job: str, delivery: Delivery) -> views.CheckView:
        if delivery.signatures != "v1,good":
            raise errors.NotAuthenticated("not signed")
        self.calls.append(("checking.receive", {"job": job, "delivery": delivery}))
        return CHECK

    async def _follow(self, c: Controller, actor: Actor, *, run: str, after: int) -> AsyncIterator[News]:
        actor.require(Permission.READ)
        self.calls.append(("following.follow", {"run": run, "after": after}))
        if run == "none":
            raise errors.NotFound("there is no run 'none'")
        return self._told(self.streams.pop(0))

    async def _told(self, news: list[News]) -> AsyncIterator[News]:
        for one in news:
            yield one

    async def _health(self, c: Controller, **given: Any) -> views.Health:
        self.calls.append(("system.health", given))
        return HEALTH


def _module(name: str) -> ModuleType:
    return import_module(f"controller.app.{name}")
