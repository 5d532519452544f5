"""Tokens, roles and the audit log."""

import pytest

from controller.app import audit, runs, system, tokens
from controller.app.access import GRANTS, Actor, Permission, Role
from controller.app.errors import InvalidRequest, NotAllowed, NotAuthenticated, NotFound
from controller.app.ports import Priority
from protocol.units import HOUR, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, Rig, stage


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a")
    return rig


def test_a_token_tells_who_calls(rig: Rig) -> None:
    made = rig.do(tokens.create, name="bob", role=Role.OPERATOR, expires_at=None)

    assert run_now(tokens.authenticate(rig.controller, made.secret)) == Actor(name="bob", role=Role.OPERATOR)
    assert [(t.name, t.revoked) for t in rig.do(tokens.list_tokens)] == [("bob", False)]


def test_an_unknown_an_expired_and_a_revoked_token_are_refused_alike(rig: Rig) -> None:
    expiring = rig.do(tokens.create, name="bob", role=Role.VIEWER, expires_at=later(rig.clock.time, HOUR))
    revoked = rig.do(tokens.create, name="eve", role=Role.ADMIN, expires_at=None)
    rig.do(tokens.revoke, token=revoked.id)
    rig.clock.time = later(rig.clock.time, HOUR)

    messages = set()
    for secret in ("tgp_unknown", expiring.secret, revoked.secret, ""):
        with pytest.raises(NotAuthenticated) as refused:
            run_now(tokens.authenticate(rig.controller, secret))
        messages.add(str(refused.value))
    assert messages == {"the token is not valid: unknown, expired or revoked"}


def test_no_secret_is_in_the_database(rig: Rig) -> None:
    made = rig.do(tokens.create, name="bob", role=Role.VIEWER, expires_at=None)

    stored = run_now(rig.store.read(lambda tx: tx.credentials.tokens()))

    assert made.secret not in repr(stored)


def test_adopting_a_secret_twice_is_once(rig: Rig) -> None:
    first = rig.do(tokens.adopt, name="admin", role=Role.ADMIN, secret="tgp_1")
    second = rig.do(tokens.adopt, name="admin", role=Role.ADMIN, secret="tgp_1")

    assert first == second
    assert len(rig.do(tokens.list_tokens)) == 1


def test_revoking_what_is_not_there_says_so(rig: Rig) -> None:
    with pytest.raises(NotFound, match="there is no token 'x'"):
        rig.do(tokens.revoke, token="x")


@pytest.mark.parametrize(("uses", "span"), [(0, HOUR), (1_000_001, HOUR), (1, 0)])
def test_a_claim_that_makes_no_sense_is_refused(rig: Rig, uses: int, span: int) -> None:
    with pytest.raises(InvalidRequest):
        rig.do(tokens.create_claim, uses=uses, expires_at=later(rig.clock.time, span))


@pytest.mark.parametrize("role", Role)
def test_only_roles_that_are_granted_it_may_control_runs(rig: Rig, role: Role) -> None:
    run = rig.start(stage())
    actor = Actor(name="bob", role=role)

    if Permission.CONTROL_RUNS in GRANTS[role]:
        assert rig.do(runs.pause, actor, run=run, reason="doubt").paused
    else:
        with pytest.raises(NotAllowed, match="control_runs needs one of: operator, admin"):
            rig.do(runs.pause, actor, run=run, reason="doubt")
        assert not rig.view(run).paused


def test_every_act_is_in_the_audit_log_and_the_chain_holds(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(runs.pause, run=run, reason="doubt")
    rig.do(runs.resume, run=run)
    rig.do(runs.terminate, run=run, reason="wrong version")

    views = rig.do(system.audit)
    assert [(v.actor, v.verb) for v in views][-4:] == [
        ("ann", "run.start"),
        ("ann", "run.pause"),
        ("ann", "run.resume"),
        ("ann", "run.terminate"),
    ]
    entries = run_now(rig.store.read(lambda tx: tx.log.audit(after=0, limit=100)))
    assert audit.first_break(entries) is None
    assert audit.first_break(entries[:1] + entries[2:]) == entries[2]


def test_an_act_that_fails_is_not_in_the_audit_log(rig: Rig) -> None:
    before = rig.do(system.audit)

    with pytest.raises(NotFound):
        rig.do(runs.pause, run="r0", reason="doubt")

    assert rig.do(system.audit) == before


def test_an_altered_entry_breaks_the_chain(rig: Rig) -> None:
    actors = [ADMIN, Actor(name="bob", role=Role.VIEWER)]
    for actor in actors:
        run_now(
            rig.store.write(
                lambda tx, a=actor: audit.record(tx, a, "try", "thing", at=rig.clock.time),  # type: ignore[misc]
                priority=Priority.OPERATOR,
            )
        )
    first, second = run_now(rig.store.read(lambda tx: tx.log.audit(after=0, limit=9)))

    assert audit.first_break([second, first]) == second
