"""What a rollback would do, in words for whoever is about to confirm it.

>>> consequence({"run": "r1", "ended": False, "devices": 5, "versions": [{"version": "2.0", "devices": 5}],
...              "left_out": [{"reason": "below_floor", "devices": 2, "first": ["a", "b"]}]})
'run r1 ends first, then 5 devices go back: 5 to 2.0; 2 devices stay as they are: 2 may not go below their floor'
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from controller.domain.wording import counted

VERSIONS_SHOWN_MAX: Final = 8
_WHY: Final[Mapping[str, str]] = {
    "blocked": "blocked",
    "broken": "left broken",
    "no_previous": "without a version before",
    "not_published": "with a version before that is not to be had any more",
    "unchanged": "on that version already",
    "below_floor": "may not go below their floor",
}


def consequence(would: Mapping[str, Any]) -> str:
    """Return what would become of the devices that a run has reached."""
    first = "" if would["ended"] else f"run {would['run']} ends first, then "
    parts = [f"{first}{_taken(would['devices'], would['versions'])}"]
    left_out = would["left_out"]
    if left_out:
        stay = counted(sum(one["devices"] for one in left_out), "device")
        why = ", ".join(f"{one['devices']} {_WHY.get(one['reason'], one['reason'])}" for one in left_out)
        verb = "stays as it is" if stay.startswith("1 ") else "stay as they are"
        parts.append(f"{stay} {verb}: {why}")
    return "; ".join(parts)


def _taken(devices: int, versions: Sequence[Mapping[str, Any]]) -> str:
    if not devices:
        return "no device goes back"
    shown = [f"{one['devices']} to {one['version']}" for one in versions[:VERSIONS_SHOWN_MAX]]
    more = ["…"] if len(versions) > VERSIONS_SHOWN_MAX else []
    return f"{counted(devices, 'device')} {'goes' if devices == 1 else 'go'} back: {', '.join(shown + more)}"
