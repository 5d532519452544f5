"""Opaque keyset cursors: the key of the last row of a page, which says nothing to the caller."""

import base64
import binascii
import re
from typing import Final

from controller.app.errors import InvalidRequest

NUMBER: Final = re.compile(r"-?[0-9]{1,18}")
"""What fits into the database's integers."""


def encode(key: str | int) -> str:
    """Return a cursor that stands for *key*.

    >>> decode_int(encode(42))
    42
    """
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """Return the key that a cursor stands for.

    Raises:
        InvalidRequest: when it is no cursor of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"cursor {cursor[:40]!r} is not one that a page gave") from error


def decode_int(cursor: str) -> int:
    """Return the number that a cursor stands for.

    Raises:
        InvalidRequest: when it is no cursor of ours.
    """
    text = decode(cursor)
    if NUMBER.fullmatch(text) is None:
        raise InvalidRequest(f"cursor {cursor[:40]!r} is not one that a page gave")
    return int(text)
