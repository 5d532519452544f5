"""Tokens of people and programs, and claims with which devices enrol. Secrets are shown once and kept hashed."""

import hashlib
from typing import Final

from controller.app import audit
from controller.app.access import Actor, Permission, Role
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotAuthenticated, NotFound
from controller.app.once import once
from controller.app.records import ClaimRecord, TokenRecord
from controller.app.repositories import Transaction
from controller.app.views import NewSecret, TokenView
from controller.domain.trigger import ACTOR_PREFIX
from protocol.units import Instant

SECRET_BYTES: Final = 24
TOKEN_PREFIX: Final = "tgp_"  # noqa: S105 - marks a secret, and is none
CLAIM_PREFIX: Final = "tgc_"
CLAIM_USES_MAX: Final = 1_000_000


def hash_of(secret: str) -> str:
    """Return what is stored of a secret. It is random and long, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def authenticate(controller: Controller, secret: str) -> Actor:
    """Return who bears the token.

    Raises:
        NotAuthenticated: when the token is unknown, expired or revoked; which of them is not said.
    """
    found = await controller.read(lambda tx: tx.credentials.token_by_hash(hash_of(secret)))
    now = controller.clock.now()
    if found is None or found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= now):
        raise NotAuthenticated("the token is not valid: unknown, expired or revoked")
    return Actor(name=found.name, role=Role(found.role))


async def create(
    controller: Controller, actor: Actor, *, name: str, role: Role, expires_at: Instant | None
) -> NewSecret:
    """Make a token.

    Raises:
        InvalidRequest: when its name is one that a trigger acts under.
    """
    actor.require(Permission.ADMINISTER)
    if name.startswith(ACTOR_PREFIX):
        raise InvalidRequest(f"a token named {name!r} would pass for a trigger: choose another name")
    secret = TOKEN_PREFIX + controller.chance.token(SECRET_BYTES)
    return await adopt(controller, actor, name=name, role=role, secret=secret, expires_at=expires_at)


async def adopt(
    controller: Controller, actor: Actor, *, name: str, role: Role, secret: str, expires_at: Instant | None = None
) -> NewSecret:
    """Take over a secret that was made elsewhere: the first administrator's, from the installation's folder."""
    actor.require(Permission.ADMINISTER)
    token = TokenRecord(
        id=controller.chance.token(6),
        name=name,
        role=role.value,
        secret_sha256=hash_of(secret),
        created_at=controller.clock.now(),
        expires_at=expires_at,
    )

    def work(tx: Transaction, _after: Consequences) -> NewSecret:
        known = tx.credentials.token_by_hash(token.secret_sha256)
        if known is not None:
            return NewSecret(id=known.id, secret=secret)
        tx.credentials.add_token(token)
        audit.record(tx, actor, "token.create", token.id, at=token.created_at, reason=f"{name}: {role}")
        return NewSecret(id=token.id, secret=secret)

    return await once(controller, actor, work, kind=NewSecret, is_secret=True)


async def revoke(controller: Controller, actor: Actor, *, token: str) -> None:
    """Make a token void.

    Raises:
        NotFound: when there is no such token.
    """
    actor.require(Permission.ADMINISTER)

    def work(tx: Transaction, _after: Consequences) -> None:
        now = controller.clock.now()
        if not tx.credentials.revoke_token(token, at=now):
            raise NotFound(f"there is no token {token!r}")
        audit.record(tx, actor, "token.revoke", token, at=now)

    await controller.write(work)


async def list_tokens(controller: Controller, actor: Actor) -> tuple[TokenView, ...]:
    """Return all tokens, newest first, without their secrets."""
    actor.require(Permission.ADMINISTER)
    records = await controller.read(lambda tx: tx.credentials.tokens())
    return tuple(
        TokenView(
            id=r.id,
            name=r.name,
            role=r.role,
            created_at=r.created_at,
            expires_at=r.expires_at,
            revoked=r.revoked_at is not None,
        )
        for r in records
    )


async def create_claim(controller: Controller, actor: Actor, *, uses: int, expires_at: Instant) -> NewSecret:
    """Make a claim with which up to *uses* devices may enrol until *expires_at*.

    Raises:
        InvalidRequest: when *uses* is out of range or *expires_at* has passed.
    """
    actor.require(Permission.EDIT_DEVICES)
    now = controller.clock.now()
    if not 1 <= uses <= CLAIM_USES_MAX:
        raise InvalidRequest(f"uses {uses}: expected 1 to {CLAIM_USES_MAX}")
    if expires_at <= now:
        raise InvalidRequest("expires_at has passed: expected a time to come")
    secret = CLAIM_PREFIX + controller.chance.token(SECRET_BYTES)
    claim = ClaimRecord(
        id=controller.chance.token(6), secret_sha256=hash_of(secret), uses_left=uses, expires_at=expires_at
    )

    def work(tx: Transaction, _after: Consequences) -> NewSecret:
        tx.credentials.add_claim(claim)
        audit.record(tx, actor, "claim.create", claim.id, at=now, reason=f"{uses} uses")
        return NewSecret(id=claim.id, secret=secret)

    return await once(controller, actor, work, kind=NewSecret, is_secret=True)
