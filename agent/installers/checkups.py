"""Look at installed apps now and then while they are watched: one that runs may still not be well.

The rules this module keeps:

1. An app is unwell after several bad looks in a row, and is told of once in such a row: a probe may fail by chance.
2. Whoever attends anew begins anew: what was seen in one watch says nothing in the next, of the same app or another.
3. A service that has ended is not judged here: whoever starts it again tells of that.
4. Looks come from a thread of their own, and hold nothing up.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from agent.installers.manifest import Manifest
from agent.installers.probe import Target, complaint
from agent.logs import fields
from protocol.health import Mark
from protocol.ids import AppName

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 30.0
BAD_MAX: Final = 3
"""So many bad looks in a row make an app unwell."""
STOP_SECONDS: Final = 15.0
"""How long the end of a look is waited for."""

Ail = Callable[[AppName, Mark, int, str], None]
"""Takes which app is not well, how, how often that was seen, and words for people."""


class Patient(NamedTuple):
    """What is looked at: the running release of an app."""

    target: Target
    manifest: Manifest


class _Round:
    """The apps that are attended to, and how many bad looks in a row there were since."""

    def __init__(self, apps: frozenset[AppName]) -> None:
        self.apps = apps
        self.bad_looks: Counter[AppName] = Counter()


class Checkups:
    """Probes the apps that are attended to."""

    def __init__(self, patients: Callable[[], Mapping[AppName, Patient]], ail: Ail) -> None:
        """Take what returns the apps that should run, and who is told of those that are not well."""
        self._patients = patients
        self._ail = ail
        self._round = _Round(frozenset())
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def attend(self, apps: frozenset[AppName]) -> None:
        """Look at these apps from now on, and at no others."""
        self._round = _Round(apps)
        if apps and self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="checkups", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _look_on(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                log.exception("checkup_failed")

    def look(self) -> None:
        """Look once at every app that is attended to."""
        at = self._round
        found = {app: patient for app, patient in self._patients().items() if app in at.apps}
        at.bad_looks = Counter({app: count for app, count in at.bad_looks.items() if app in found})
        for app, patient in found.items():
            self._judge(at, app, complaint(patient.target, patient.manifest))

    def _judge(self, at: _Round, app: AppName, said: str | None) -> None:
        at.bad_looks[app] = 0 if said is None else at.bad_looks[app] + 1
        if said is not None and at.bad_looks[app] == BAD_MAX and at is self._round:
            log.warning("service_unwell", extra=fields(app=app, said=said))
            self._ail(app, Mark.UNWELL, BAD_MAX, said)
