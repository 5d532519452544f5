"""The API's JSON back to the views that it was made from."""

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from protocol.trust import instant_of

T = TypeVar("T")

_NAMED_BY_PEOPLE: Final = frozenset({"labels", "facts", "parameters", "outputs", "measures"})
"""Mappings in which any key may stand, and none says that its value is a time."""


def view(data: Any, kind: type[T]) -> T:
    """Return JSON of the API as a view; its times become instants again.

    Raises:
        msgspec.ValidationError: when it is no such view.
    """
    return msgspec.convert(_with_instants(data), kind)


def _with_instants(data: Any) -> Any:
    if isinstance(data, list):
        return [_with_instants(item) for item in data]
    if isinstance(data, dict):
        return {key: _read(key, value) for key, value in data.items()}
    return data


def _read(key: str, value: Any) -> Any:
    if key in _NAMED_BY_PEOPLE:
        return value
    return _instant(value) if _is_time(key) else _with_instants(value)


def _is_time(key: str) -> bool:
    return key in {"at", "until"} or key.endswith(("_at", "_until"))


def _instant(text: Any) -> Any:
    return instant_of(datetime.fromisoformat(text)) if isinstance(text, str) else text
