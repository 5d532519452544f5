"""Paths of groups, which form a tree.

>>> is_within("eu/berlin", "eu"), is_within("europe", "eu")
(True, False)
"""

from typing import Final

from protocol.errors import InvalidName
from protocol.ids import parse_part

DEPTH_MAX: Final = 8
SEPARATOR: Final = "/"
AFTER_SEPARATOR: Final = chr(ord(SEPARATOR) + 1)
"""What lies below ``eu`` sorts from ``eu/`` on and before ``eu0``."""


def parse_path(text: str) -> str:
    """Check a group's path: 1 to `DEPTH_MAX` parts joined by ``/``, each like a name.

    Raises:
        InvalidName: when *text* breaks that rule.

    >>> parse_path("eu/berlin/shop-7")
    'eu/berlin/shop-7'
    """
    parts = text.split(SEPARATOR)
    if len(parts) > DEPTH_MAX:
        raise InvalidName(f"group {text[:80]!r} is {len(parts)} levels deep: expected at most {DEPTH_MAX}")
    for part in parts:
        parse_part(part, what="part of a group's path")
    return text


def is_within(path: str, group: str) -> bool:
    """Say whether *path* is that *group* or lies below it."""
    return path == group or path.startswith(group + SEPARATOR)


def lineage(path: str) -> tuple[str, ...]:
    """Return a path and all above it, the topmost first.

    >>> lineage("eu/berlin/shop-7")
    ('eu', 'eu/berlin', 'eu/berlin/shop-7')
    """
    parts = path.split(SEPARATOR)
    return tuple(SEPARATOR.join(parts[:count]) for count in range(1, len(parts) + 1))
