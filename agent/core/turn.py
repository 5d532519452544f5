"""One step in the making: the state as changed so far, and the effects asked for so far."""

from typing import Any

import msgspec

from agent.core.effects import Alarm, AlarmKind, Effect
from agent.core.model import Durable, Profile, Session, State, Trust, Work
from protocol.units import Instant


class Turn:
    """What the parts of one `step` share. It lives within one call; what goes in and comes out is frozen."""

    __slots__ = ("at", "durable", "effects", "profile", "session", "trust")

    def __init__(self, state: State, *, trust: Trust, profile: Profile, at: int) -> None:
        self.durable: Durable = state.durable
        self.session: Session = state.session
        self.trust = trust
        self.profile = profile
        self.at = at
        self.effects: list[Effect] = []

    @property
    def state(self) -> State:
        """The state as it stands."""
        return State(durable=self.durable, session=self.session)

    @property
    def now(self) -> Instant | None:
        """The trusted time, or None where this boot has heard none."""
        return self.state.now(self.at)

    @property
    def is_fresh(self) -> bool:
        """Whether a hello was answered within the silence that the controller allows."""
        return self.state.base is not None and self.at <= self.state.silent_at

    def keep(self, **changes: Any) -> None:
        """Change what survives a power cut."""
        self.durable = msgspec.structs.replace(self.durable, **changes)

    def note(self, **changes: Any) -> None:
        """Change what a restart forgets."""
        self.session = msgspec.structs.replace(self.session, **changes)

    def work_on(self, work: Work, **changes: Any) -> Work:
        """Change the work in hand and return it."""
        changed = msgspec.structs.replace(work, **changes)
        self.keep(work=changed)
        return changed

    def do(self, effect: Effect) -> None:
        """Ask for *effect*."""
        self.effects.append(effect)

    def alarm(self, kind: AlarmKind, detail: str = "") -> None:
        """Ask for something odd to be logged and counted."""
        self.do(Alarm(kind=kind, detail=detail))
