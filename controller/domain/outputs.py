"""What the devices of a stage told, as far as conditions ask: one summary for each name, kept as devices end.

Devices may tell any names they like, so only those are summed up that some condition of the plan asks for.

>>> summaries = summed({}, [{"boot_ms": 800, "kernel": "6.1"}, {"boot_ms": 900}, {}], {"boot_ms"})
>>> summaries["boot_ms"].average
850.0
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from protocol.outputs import Outputs


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers, `count` of them, that devices told under one name."""

    count: int
    least: float
    greatest: float
    total: float

    @property
    def average(self) -> float:
        """The arithmetic mean."""
        return self.total / self.count


def summed(summaries: Mapping[str, Summary], told: Iterable[Outputs], names: Collection[str]) -> Mapping[str, Summary]:
    """Return *summaries* with the numbers among *told*, each the outputs of one device, that have one of *names*."""
    changed = dict(summaries)
    for outputs in told:
        for name, value in outputs.items():
            if name in names and not isinstance(value, str):
                changed[name] = _with(changed.get(name), float(value))
    return changed


def _with(summary: Summary | None, number: float) -> Summary:
    if summary is None:
        return Summary(count=1, least=number, greatest=number, total=number)
    return Summary(
        count=summary.count + 1,
        least=min(summary.least, number),
        greatest=max(summary.greatest, number),
        total=summary.total + number,
    )
