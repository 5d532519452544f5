"""Who may do what: roles and the permissions they grant. Every use case names the one it needs.

>>> Actor(name="ann", role=Role.VIEWER).may(Permission.CONTROL_RUNS)
False
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from controller.app.errors import NotAllowed


class Role(StrEnum):
    """What a token was made for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    RELEASER = "releaser"
    APPROVER = "approver"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a use case needs."""

    READ = "read"
    CONTROL_RUNS = "control_runs"
    STOP_EVERYTHING = "stop_everything"
    LIFT_STANDSTILL = "lift_standstill"
    PROMOTE = "promote"
    APPROVE = "approve"
    EDIT_PIPELINES = "edit_pipelines"
    EDIT_DEVICES = "edit_devices"
    PUBLISH = "publish"
    ADMINISTER = "administer"


_P = Permission

GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({_P.READ}),
    Role.OPERATOR: frozenset(
        {_P.READ, _P.CONTROL_RUNS, _P.STOP_EVERYTHING, _P.PROMOTE, _P.EDIT_PIPELINES, _P.EDIT_DEVICES}
    ),
    Role.RELEASER: frozenset({_P.READ, _P.STOP_EVERYTHING, _P.PUBLISH}),
    Role.APPROVER: frozenset({_P.READ, _P.STOP_EVERYTHING, _P.PROMOTE, _P.APPROVE}),
    Role.ADMIN: frozenset(Permission),
}


class RequestKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller named a request by, to be able to send it again; `fingerprint` is of what it asks."""

    key: str
    fingerprint: str


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A person or program that calls; `name` goes into the audit log. `request` names the call, where it has a name."""

    name: str
    role: Role
    request: RequestKey | None = None

    def may(self, permission: Permission) -> bool:
        """Say whether the actor's role grants *permission*."""
        return permission in GRANTS[self.role]

    def require(self, permission: Permission) -> None:
        """Go on only with *permission*.

        Raises:
            NotAllowed: when the actor's role does not grant it.
        """
        if not self.may(permission):
            roles = ", ".join(role for role, grants in GRANTS.items() if permission in grants)
            raise NotAllowed(f"{self.name} has the role {self.role}; {permission} needs one of: {roles}")
