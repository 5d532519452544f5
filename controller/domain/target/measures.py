"""A device tells numbers while it watches: they are kept until they are compared, and change no state.

The rules this module keeps:

1. Of an updated device the first numbers count, of one that is held back the newest. Who is in a pair tells in vain,
   in a later attempt, too.
2. Numbers count of the newest attempt alone, and of who is compared: those of its time as a control device are of no
   build.
3. A name that nobody compares is not kept, and neither is text. Who tells nothing of what is compared has told nothing.
"""

from collections.abc import Iterable

import msgspec

from controller.domain.target.events import Anomaly, Effect, Measured
from controller.domain.target.model import Measures, Policy, Target
from protocol.outputs import Outputs


def measured(target: Target, event: Measured, policy: Policy) -> tuple[Target, tuple[Effect, ...]]:
    """Return the target after it told numbers."""
    if not policy.metrics:
        return target, (Anomaly(kind="measure_unasked"),)
    if not 1 <= event.attempt <= target.attempt:
        return target, (Anomaly(kind="measure_of_no_attempt"),)
    told = numbers(event.outputs, policy.metrics)
    if not told or event.attempt != target.attempt or not _is_awaited(target):
        return target, ()
    return msgspec.structs.replace(target, measures=told, measured_at=event.told_at), ()


def numbers(outputs: Outputs, names: Iterable[str]) -> Measures:
    """Return what outputs say of the metrics of these names, as far as they are numbers.

    >>> numbers({"scan_ms": 12, "kernel": "6.1", "boot_ms": 800}, ["scan_ms", "kernel", "free_mb"])
    {'scan_ms': 12.0}
    """
    told = {name: outputs.get(name) for name in names}
    return {name: float(value) for name, value in told.items() if isinstance(value, int | float)}


def begun_after(target: Target, begun: Target) -> Target:
    """Return a device that has *begun* an attempt: who is in a pair stays so, and of all others it tells anew."""
    known = {"measures": target.measures, "measured_at": target.measured_at, "is_paired": True}
    return msgspec.structs.replace(begun, **known) if target.is_paired else begun


def paired(target: Target) -> Target:
    """Return the target once what it told is compared."""
    assert target.measured_at is not None, "a device that told no number is in no pair"
    return msgspec.structs.replace(target, is_paired=True)


def _is_awaited(target: Target) -> bool:
    is_first = target.measured_at is None or target.is_control
    return target.is_compared and not target.is_paired and is_first
