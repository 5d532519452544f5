"""Signed webhooks start runs; what is not signed, not now, or came before, starts none."""

import base64
from typing import Any

import msgspec
import pytest

from controller.app import devices, hooks, jobs, pipelines, runs, system
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import (
    CallerError,
    Conflict,
    InvalidDefinition,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
)
from controller.app.hooks import Delivery, signature_of
from controller.app.views import DeliveryView
from controller.documents import Kind, load_one
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from protocol.units import MINUTE, SECOND, Instant
from tests.controller.app.rig import ADMIN, APP, Rig, stage

OPEN = """
name: rollout
parameters: {ring: {default: one}, pace: {type: int}, skip: {type: list, default: []}}
env: {B: "0", C: "0"}
stages: [{name: all, pace: {max_in_flight: '${pace}'}, targets: {labels: {ring: '${ring}'}, exclude: '${skip}'}}]
"""


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    rig.publish("1.0.0", 1)
    rig.publish("2.0.0", 2)
    rig.do(pipelines.apply, definition=Pipeline(name="rollout", stages=(stage(),)))
    operation = Operation(app=APP, version="1.0.0", env={"A": "1", "B": "1"})
    rig.do(jobs.create, name="job", pipeline="rollout", operation=operation)
    return rig


@pytest.fixture
def secret(rig: Rig) -> str:
    return rig.do(hooks.create, job="job").secret


def signed(rig: Rig, secret: str, name: str = "msg-1", *, age_ms: int = 0, **body: Any) -> Delivery:
    timestamp = str((rig.clock.time - age_ms) // SECOND)
    raw = msgspec.json.encode(body)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = signature_of(key, id=name, timestamp=timestamp, body=raw)
    return Delivery(id=name, timestamp=timestamp, signatures=signature, body=raw)


def receive(rig: Rig, delivery: Delivery, job: str = "job") -> DeliveryView:
    view: DeliveryView = rig.wait(hooks.receive(rig.controller, job=job, delivery=delivery))
    rig.pump()
    return view


def started(rig: Rig) -> int:
    return len(rig.do(runs.list_runs).items)


def test_a_signed_delivery_starts_a_run_as_its_body_says(rig: Rig, secret: str) -> None:
    view = receive(rig, signed(rig, secret, version="2.0.0", env={"B": "2"}, reason="build 7"))

    assert view.run is not None
    assert not view.waits
    run = rig.view(view.run)
    assert (run.version, run.started_by) == ("2.0.0", "trigger:hook")
    assert rig.last("a")[1].env == {"A": "1", "B": "2"}
    entry = rig.do(system.audit)[-1]
    assert (entry.actor, entry.verb, entry.reason) == ("trigger:hook", "run.start", "job 2.0.0 build 7")


def test_a_delivery_gives_values_that_override_those_of_the_job(rig: Rig, secret: str) -> None:
    definition = load_one(OPEN, Kind.PIPELINE)
    assert isinstance(definition, Pipeline)
    rig.do(pipelines.apply, definition=definition)
    operation = Operation(app=APP, version="1.0.0", env={"A": "1", "B": "1"})
    parameters: dict[str, Value] = {"pace": 2, "skip": ("b",)}
    rig.do(devices.set_labels, device="a", labels={"ring": "one"})
    rig.do(jobs.apply, name="job", pipeline="rollout", operation=operation, parameters=parameters)

    view = receive(rig, signed(rig, secret, parameters={"pace": 5}, env={"B": "2"}))
    assert view.run is not None
    assert rig.view(view.run).parameters == {"pace": 5, "skip": ("b",), "ring": "one"}
    assert rig.last("a")[1].env == {"A": "1", "B": "2", "C": "0"}


def test_a_delivery_with_values_that_do_not_fit_is_refused_though_it_would_wait(rig: Rig, secret: str) -> None:
    receive(rig, signed(rig, secret))
    for number, queue in enumerate((True, False)):
        with pytest.raises(InvalidDefinition if queue else Conflict):
            receive(rig, signed(rig, secret, f"x{number}", parameters={"rink": "one"}, queue=queue))
    assert rig.do(jobs.get, name="job").waiting is None


def test_what_waits_keeps_the_values_that_it_was_given(rig: Rig, secret: str) -> None:
    receive(rig, signed(rig, secret))
    receive(rig, signed(rig, secret, "msg-2", env={"B": "2"}, queue=True))
    rig.controller = rig.new_controller()
    rig.succeed("a")
    rig.sleep(1)
    assert rig.last("a")[1].env == {"A": "1", "B": "2"}


def test_the_hook_of_an_archived_job_signs_nothing(rig: Rig, secret: str) -> None:
    rig.do(jobs.archive, name="job")
    with pytest.raises(NotAuthenticated):
        receive(rig, signed(rig, secret))
    rig.do(jobs.create, name="job", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    with pytest.raises(NotAuthenticated):
        receive(rig, signed(rig, secret, "msg-2"))


def test_an_empty_body_takes_the_job_as_it_is(rig: Rig, secret: str) -> None:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    timestamp = str(rig.clock.time // SECOND)
    signature = signature_of(key, id="m", timestamp=timestamp, body=b"")
    view = receive(rig, Delivery(id="m", timestamp=timestamp, signatures=signature, body=b""))
    assert view.run is not None
    assert rig.view(view.run).version == "1.0.0"


def test_a_delivery_that_comes_twice_starts_one_run(rig: Rig, secret: str) -> None:
    receive(rig, signed(rig, secret))
    rig.succeed("a")
    with pytest.raises(Conflict, match="carried out already"):
        receive(rig, signed(rig, secret))
    assert started(rig) == 1
    assert receive(rig, signed(rig, secret, "msg-2")).run is not None


def test_a_delivery_conflicts_with_an_active_run_and_may_come_again(rig: Rig, secret: str) -> None:
    receive(rig, signed(rig, secret))
    with pytest.raises(Conflict, match="active run"):
        receive(rig, signed(rig, secret, "msg-2"))
    rig.succeed("a")
    assert receive(rig, signed(rig, secret, "msg-2")).run is not None


def test_a_delivery_may_wait_for_the_end_of_the_active_run(rig: Rig, secret: str) -> None:
    receive(rig, signed(rig, secret))
    view = receive(rig, signed(rig, secret, "msg-2", version="2.0.0", queue=True))
    assert view == DeliveryView(run=None, waits=True)
    rig.succeed("a")
    rig.sleep(1)
    assert rig.do(runs.list_runs).items[0].version == "2.0.0"


def test_what_could_never_start_does_not_wait(rig: Rig, secret: str) -> None:
    receive(rig, signed(rig, secret))
    for number, queue in enumerate((True, False)):
        error = NotFound if queue else Conflict
        with pytest.raises(error):
            receive(rig, signed(rig, secret, f"x{number}", version="9", queue=queue))
    assert rig.do(jobs.get, name="job").waiting is None


def test_deliveries_are_fresh_within_five_minutes_either_way(rig: Rig, secret: str) -> None:
    for age_ms in (5 * MINUTE + SECOND, -5 * MINUTE - SECOND):
        with pytest.raises(NotAuthenticated):
            receive(rig, signed(rig, secret, age_ms=age_ms))
    assert receive(rig, signed(rig, secret, age_ms=5 * MINUTE)).run is not None


def test_what_the_secret_did_not_sign_is_refused(rig: Rig, secret: str) -> None:
    good = signed(rig, secret, version="1.0.0")
    later = str(int(good.timestamp) + 1)
    forged: tuple[dict[str, Any], ...] = (
        {"id": "msg-2"},
        {"timestamp": later},
        {"timestamp": "0x10"},
        {"timestamp": ""},
        {"body": good.body.replace(b"1", b"2")},
        {"signatures": ""},
        {"signatures": "v1,"},
        {"signatures": good.signatures.replace("v1,", "v2,")},
        {"signatures": " ".join(["v1,AAAA"] * 8 + [good.signatures])},
    )
    for changes in forged:
        with pytest.raises(NotAuthenticated):
            receive(rig, msgspec.structs.replace(good, **changes))
    with pytest.raises(NotAuthenticated):
        receive(rig, good, job="none")
    assert started(rig) == 0
    assert receive(rig, msgspec.structs.replace(good, signatures=f"v1,AAAA {good.signatures}")).run is not None


def test_an_id_is_short_and_printable(rig: Rig, secret: str) -> None:
    for id_ in ("", "x" * 129, "a\nb"):
        with pytest.raises(NotAuthenticated):
            receive(rig, signed(rig, secret, id_))


def test_a_job_without_a_hook_takes_no_delivery(rig: Rig) -> None:
    guessed = base64.b64encode(hooks.secret_of(rig.controller, "")).decode()
    with pytest.raises(NotAuthenticated):
        receive(rig, signed(rig, guessed))


def test_a_new_secret_voids_the_old_one_and_a_removed_hook_takes_nothing(rig: Rig, secret: str) -> None:
    newer = rig.do(hooks.create, job="job").secret
    assert newer != secret
    with pytest.raises(NotAuthenticated):
        receive(rig, signed(rig, secret))
    assert rig.do(jobs.get, name="job").has_hook
    rig.do(hooks.remove, job="job")
    assert not rig.do(jobs.get, name="job").has_hook
    with pytest.raises(NotAuthenticated):
        receive(rig, signed(rig, newer))


def test_the_database_holds_nothing_that_signs(rig: Rig, secret: str) -> None:
    other = Rig(store=rig.store, hook_key=b"\1" * 32)
    other.clock = rig.clock
    record = rig.wait(rig.store.read(lambda tx: tx.catalog.job("job")))
    derived = base64.b64encode(hooks.secret_of(other.controller, record.hook)).decode()
    assert derived != secret.removeprefix("whsec_")
    with pytest.raises(NotAuthenticated):
        receive(rig, signed(rig, derived))


def test_a_hook_removed_between_check_and_commit_starts_nothing(rig: Rig, secret: str) -> None:
    delivery, original = signed(rig, secret), rig.controller.store.read

    async def read_and_remove(work: Any) -> Any:
        found = await original(work)
        await hooks.remove(rig.controller, ADMIN, job="job")
        return found

    rig.controller.store.read = read_and_remove  # type: ignore[method-assign]
    with pytest.raises(NotAuthenticated, match="no more"):
        receive(rig, delivery)


@pytest.mark.parametrize(
    "body",
    [
        {"verzion": "2"},
        {"version": ""},
        {"env": {"A": 1}},
        {"parameters": {"ring": {}}},
        {"parameters": {f"p{n}": 1 for n in range(65)}},
        {"env": {str(n): "" for n in range(65)}},
        {"reason": "x" * 501},
        {"queue": "yes"},
    ],
)
def test_a_body_is_bounded_and_has_no_other_fields(rig: Rig, secret: str, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="not what this hook takes"):
        receive(rig, signed(rig, secret, **body))


def test_only_who_edits_pipelines_makes_hooks_and_the_secret_is_shown_once(rig: Rig) -> None:
    viewer = Actor(name="v", role=Role.VIEWER)
    for use_case in (hooks.create, hooks.remove):
        with pytest.raises(NotAllowed):
            rig.do(use_case, viewer, job="job")
        with pytest.raises(NotFound):
            rig.do(use_case, job="none")
    actor = Actor(name="ann", role=Role.ADMIN, request=RequestKey(key="k", fingerprint="f"))
    rig.do(hooks.create, actor, job="job")
    with pytest.raises(CallerError, match="shown once"):
        rig.do(hooks.create, actor, job="job")
    assert [e.verb for e in rig.do(system.audit) if e.verb.startswith("hook")] == ["hook.create"]


def test_replays_are_refused_for_longer_than_a_delivery_is_fresh(rig: Rig, secret: str) -> None:
    delivery = signed(rig, secret)
    receive(rig, delivery)
    rig.succeed("a")
    rig.clock.time = Instant(rig.clock.time + 5 * MINUTE)
    with pytest.raises(Conflict, match="carried out already"):
        receive(rig, delivery)
