"""What of a device a query can ask about."""

from collections.abc import Mapping

import msgspec


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One device, as queries see it: its apps as ``(app, version)``, its groups as paths."""

    device: str
    model: str = ""
    agent: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)
    apps: tuple[tuple[str, str], ...] = ()
    groups: frozenset[str] = frozenset()
