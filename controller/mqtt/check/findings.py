"""What the probe found: one finding for each check, and what follows from all of them.

>>> failed("plain", "let in at port 1883").verdict
<Verdict.UNSAFE: 'unsafe'>
>>> failed("will-at-takeover", "published after the new hello").verdict
<Verdict.OK: 'ok'>
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from controller.mqtt.check.catalogue import BY_NAME, Check, Verdict
from protocol.profiles import Profile

_WORST: Final = (Verdict.UNSAFE, Verdict.WARNING, Verdict.OK)


class Finding(msgspec.Struct, frozen=True):
    """What became of one check, and what was seen."""

    name: str
    verdict: Verdict
    found: str

    @property
    def check(self) -> Check:
        """The check that this is about."""
        return BY_NAME[self.name]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, in the order of the catalogue; `profile` is None where no profile would work."""

    findings: Sequence[Finding]
    profile: Profile | None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; NOT_CHECKED where nothing could be checked."""
        found = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in _WORST if verdict in found), Verdict.NOT_CHECKED)

    def of(self, name: str) -> Finding:
        """Return the finding of the check *name*."""
        return next(finding for finding in self.findings if finding.name == name)


def passed(name: str, found: str) -> Finding:
    """Return that the check *name* passed."""
    assert name in BY_NAME, name
    return Finding(name, Verdict.OK, found)


def failed(name: str, found: str) -> Finding:
    """Return that the check *name* failed, as badly as the catalogue says."""
    return Finding(name, BY_NAME[name].severity, found)


def judged(name: str, found: str, *, is_good: bool) -> Finding:
    """Return that the check *name* passed or failed."""
    return passed(name, found) if is_good else failed(name, found)


def not_checked(name: str, why: str) -> Finding:
    """Return that the check *name* was not made, and why."""
    assert name in BY_NAME, name
    return Finding(name, Verdict.NOT_CHECKED, why)
