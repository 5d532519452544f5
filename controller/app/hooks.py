"""Signed webhooks by which a build system starts runs of a job.

They are signed as the Standard Webhooks specification says (version 1.0, symmetric signatures): HMAC-SHA256 over id,
timestamp and body. Whoever checks such a signature can make it, so the secret is not stored: it is derived from a key
that lies beside the database and the hook's random id. Who reads the database alone can sign nothing.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from controller.app import audit, jobs, runs, triggers
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, NotAuthenticated
from controller.app.once import once
from controller.app.records import AnswerRecord, JobRecord
from controller.app.repositories import Transaction
from controller.app.standstill import REASON_LENGTH_MAX
from controller.app.views import DeliveryView, NewSecret
from controller.domain.parameters import Given, Value
from controller.domain.trigger import HOOK_ACTOR, StartRequest
from protocol.ids import digest_of
from protocol.units import MINUTE, SECOND, Millis

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - marks a secret, and is none
VERSION: Final = "v1"
ID_BYTES: Final = 16
ID_LENGTH_MAX: Final = 128
SIGNATURES_MAX: Final = 8
TOLERANCE_MS: Final = Millis(5 * MINUTE)
"""How far the sender's clock may be from ours, as the specification recommends."""
TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
ENV_MAX: Final = 64
PARAMETERS_MAX: Final = 64

T = TypeVar("T")
Word = Annotated[str, Meta(min_length=1, max_length=128)]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a hook: the three headers of the specification, and the exact bytes of the body."""

    id: str
    timestamp: str
    signatures: str
    body: bytes


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a delivery may ask for; with `queue` it waits where a run is active."""

    version: Word | None = None
    parameters: Annotated[Mapping[Word, Value], Meta(max_length=PARAMETERS_MAX)] = msgspec.field(default_factory=dict)
    env: Annotated[Mapping[Word, Annotated[str, Meta(max_length=2_000)]], Meta(max_length=ENV_MAX)] = msgspec.field(
        default_factory=dict
    )
    reason: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""
    queue: bool = False


async def create(controller: Controller, actor: Actor, *, job: str) -> NewSecret:
    """Give a job a hook and return its secret, shown this once; a hook that it had is void from now on.

    Raises:
        NotFound: when there is no such job.
    """
    actor.require(Permission.EDIT_PIPELINES)
    hook = controller.chance.token(ID_BYTES)

    def work(tx: Transaction, _after: Consequences) -> NewSecret:
        _set(controller, tx, actor, job=job, hook=hook)
        secret = base64.b64encode(secret_of(controller, hook)).decode()
        return NewSecret(id=job, secret=SECRET_PREFIX + secret)

    return await once(controller, actor, work, kind=NewSecret, is_secret=True)


async def remove(controller: Controller, actor: Actor, *, job: str) -> None:
    """Take a job's hook away: nothing that it signs counts any more. A job without one is left as it is.

    Raises:
        NotFound: when there is no such job.
    """
    actor.require(Permission.EDIT_PIPELINES)
    await controller.write(lambda tx, _: _set(controller, tx, actor, job=job, hook=None))


async def receive(controller: Controller, *, job: str, delivery: Delivery) -> DeliveryView:
    """Start a run as a signed delivery asks.

    Raises:
        NotAuthenticated: when it is not signed by the hook's secret, or not now; which of them is not said.
        Conflict: when the delivery was carried out already, or the job has an active run and the body does not ask to
            wait.
        InvalidRequest: when the body is none.
        InvalidDefinition: when the pipeline may not run with what is given.
        NotFound: when there is no such release.
    """
    found = await controller.read(lambda tx: tx.catalog.job(job))
    authenticate(controller, found, delivery)
    wanted = parse(delivery.body, Wanted)

    def work(tx: Transaction, after: Consequences) -> DeliveryView:
        current = tx.catalog.job(job)
        if current is None or found is None or current.hook != found.hook:
            raise NotAuthenticated("the hook is no more")
        advance = Advance(controller, tx, after)
        require_new(advance, current, delivery)
        view = _start(advance, current, wanted)
        advance.finish()
        return view

    return await controller.write(work)


def secret_of(controller: Controller, hook: str) -> bytes:
    """Return the secret of a hook, by its id."""
    return hmac.digest(controller.hook_key, f"tidegate hook {hook}".encode(), "sha256")


def signature_of(secret: bytes, *, id: str, timestamp: str, body: bytes) -> str:  # noqa: A002 - the specification's
    """Return the signature of a delivery as the header has it.

    >>> secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> signature_of(
    ...     secret, id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp="1614265330", body=b'{"test": 2432232314}'
    ... )
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    digest = hmac.digest(secret, f"{id}.{timestamp}.".encode() + body, "sha256")
    return f"{VERSION},{base64.b64encode(digest).decode()}"


def authenticate(controller: Controller, job: JobRecord | None, delivery: Delivery) -> None:
    """Go on only with what the hook's secret signed a short while ago; a job without a hook takes as long to refuse.

    Raises:
        NotAuthenticated: when it did not; whether the signature or the time is wrong is not said.
    """
    hook = job.hook if job is not None else None
    secret = secret_of(controller, hook or "")
    expected = signature_of(secret, id=delivery.id, timestamp=delivery.timestamp, body=delivery.body).encode()
    given = delivery.signatures.split(" ")[:SIGNATURES_MAX]
    is_signed = any(hmac.compare_digest(expected, signature.encode()) for signature in given)
    if hook is None or not is_signed or not _is_now(controller, delivery.timestamp) or not _is_id(delivery.id):
        raise NotAuthenticated("no hook of ours signed this, or not within five minutes")


def _is_now(controller: Controller, timestamp: str) -> bool:
    if TIMESTAMP.fullmatch(timestamp) is None:
        return False
    return abs(controller.clock.now() - int(timestamp) * SECOND) <= TOLERANCE_MS


def _is_id(text: str) -> bool:
    return 1 <= len(text) <= ID_LENGTH_MAX and text.isprintable()


def parse(body: bytes, kind: type[T]) -> T:
    """Return what a delivery's body says, as *kind*.

    Raises:
        InvalidRequest: when it is something else.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not what this hook takes: {error}") from error


def require_new(advance: Advance, job: JobRecord, delivery: Delivery) -> None:
    """Go on only with a delivery that never came before; its id is kept far longer than it is fresh.

    Raises:
        Conflict: when it did.
    """
    actor = f"{HOOK_ACTOR} {job.name}"
    if advance.tx.log.answer(actor, delivery.id) is not None:
        raise Conflict(f"the delivery {delivery.id!r} was carried out already")
    fingerprint = digest_of(delivery.body)
    advance.tx.log.add_answer(
        AnswerRecord(actor=actor, key=delivery.id, fingerprint=fingerprint, answer=None, at=advance.at)
    )


def _start(advance: Advance, job: JobRecord, wanted: Wanted) -> DeliveryView:
    given = Given(parameters=wanted.parameters, env=wanted.env)
    request = StartRequest(by=HOOK_ACTOR, at=advance.at, version=wanted.version, given=given, reason=wanted.reason)
    if wanted.queue and job.active_run is not None:
        runs.require_startable(advance, job, request)
        triggers.offer(advance, job, request)
        return DeliveryView(run=None, waits=True)
    record = runs.begin(advance, triggers.actor_of(HOOK_ACTOR), job, request)
    return DeliveryView(run=record.uid, waits=False)


def _set(controller: Controller, tx: Transaction, actor: Actor, *, job: str, hook: str | None) -> None:
    found = jobs.find(tx, job)
    tx.catalog.save_job(msgspec.structs.replace(found, hook=hook))
    verb = "hook.remove" if hook is None else "hook.create"
    audit.record(tx, actor, verb, job, at=controller.clock.now())
