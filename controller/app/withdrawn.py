"""What the state of a release forbids: runs that would begin, and runs that would go on.

The rules this module keeps:

1. Nothing installs a withdrawn release: no run of it begins, and one that is held for it is terminated, not resumed.
2. A deprecated release is started by a person who says so, for the error names who deprecated it and why; what starts
   by itself has nobody who could read that, and does not start it.
"""

from typing import Final

from controller.app.errors import ReleaseDeprecated, ReleaseWithdrawn
from controller.app.records import ReleaseRecord, RunRecord
from controller.domain.model import Plan
from controller.domain.states import ReleaseState

WITHDRAWN: Final = "withdrawn:"
"""How the pause reason of a run begins whose release was withdrawn; the version follows."""


def pause_reason(release: ReleaseRecord) -> str:
    """Return the pause reason of runs that install a withdrawn release."""
    return f"{WITHDRAWN}{release.version}"


def installs(plan: Plan, release: ReleaseRecord) -> bool:
    """Say whether a run of *plan* installs a release."""
    return release.path in {ref.path for ref in (plan.release, *plan.releases.values())}


def require_startable(release: ReleaseRecord, *, allows_deprecated: bool) -> None:
    """Go on only with a release of which a run may begin.

    Raises:
        ReleaseWithdrawn: when it was withdrawn.
        ReleaseDeprecated: when it is deprecated, and that is not allowed.
    """
    require_usable(release)
    if release.state is ReleaseState.DEPRECATED and not allows_deprecated:
        raise ReleaseDeprecated(f"{_told(release)}: start it with --allow-deprecated, or another version")


def require_usable(release: ReleaseRecord) -> None:
    """Go on only with a release that may be installed at all.

    Raises:
        ReleaseWithdrawn: when it was withdrawn.
    """
    if release.state is ReleaseState.WITHDRAWN:
        raise ReleaseWithdrawn(f"{_told(release)}: publish a new version")


def require_none(record: RunRecord) -> None:
    """Go on only with a run that no withdrawn release holds; nobody lifts that.

    Raises:
        ReleaseWithdrawn: when one does.
    """
    versions = [r.removeprefix(WITHDRAWN) for r in record.run.pause_reasons if r.startswith(WITHDRAWN)]
    if versions:
        raise ReleaseWithdrawn(
            f"version {', '.join(versions)} was withdrawn: terminate run {record.uid}, and start one of a new version"
        )


def _told(release: ReleaseRecord) -> str:
    return f"release {release.app} {release.version} is {release.state} by {release.state_by}: {release.state_reason}"
