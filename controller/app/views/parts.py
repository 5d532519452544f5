"""What all views share."""

from typing import Generic, TypeVar

import msgspec

V = TypeVar("V")


class View(msgspec.Struct, frozen=True):
    """What all views share."""


class Page(View, Generic[V], frozen=True, kw_only=True):
    """One page of a list; `cursor` is opaque and None on the last page."""

    items: tuple[V, ...]
    cursor: str | None = None


class Counters(View, frozen=True, kw_only=True):
    """The eight counters of a stage; they always sum to its targets."""

    queued: int = 0
    in_progress: int = 0
    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    timed_out: int = 0
    cancelled: int = 0
    removed: int = 0
