"""Time zones by their names, read from the files of the system once.

>>> zone_of("Europe/Berlin") is not None, zone_of("Europe/Narnia"), zone_of("localtime")
(True, None, None)
"""

from typing import Final
from zoneinfo import ZoneInfo

NO_ZONES: Final = frozenset({"Factory", "localtime", "posixrules"})
"""Files among those of zones that mean another thing on each machine, or nothing."""
OTHER_TIMES: Final = ("posix/", "right/")
"""Folders of the same zones, once more and with leap seconds."""


def zone_of(name: str) -> ZoneInfo | None:
    """Return a time zone, or None where none has that name."""
    if name in NO_ZONES or name.startswith(OTHER_TIMES):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder of them, or no name at all
        return None
