"""Time zones by their names, read from the files of the system once.

>>> zone_of("Europe/Berlin") is not None, zone_of("Europe/Narnia")
(True, None)
"""

from datetime import tzinfo
from zoneinfo import ZoneInfo


def zone_of(name: str) -> tzinfo | None:
    """Return a time zone, or None where none has that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder of them, or no name at all
        return None
