"""Timing, and how a figure is shown."""

import gc
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

ROUNDS: Final = 5


@dataclass(frozen=True)
class Figure:
    """One measured rate beside its bound; `ratio` is rate divided by bound."""

    name: str
    per_second: float
    bound: str
    bound_per_second: float

    @property
    def ratio(self) -> float:
        """Return how much of the bound was reached."""
        return self.per_second / self.bound_per_second

    def line(self) -> str:
        """Return the figure for people."""
        share = f"{self.ratio:5.2f} of {self.bound_per_second:10,.0f}/s  {self.bound}"
        return f"{self.name:34} {self.per_second:10,.0f}/s  {share}"

    def data(self) -> dict[str, Any]:
        """Return the figure for programs."""
        return {**asdict(self), "ratio": round(self.ratio, 3)}


def rate(work: Callable[[], int], *, rounds: int = ROUNDS) -> float:
    """Return the median number of things a second over *rounds* of *work*, which returns how many it did."""
    rates = []
    for _ in range(rounds):
        gc.collect()
        begun = time.perf_counter()
        count = work()
        rates.append(count / (time.perf_counter() - begun))
    return statistics.median(rates)


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    return {"python": platform.python_version(), "machine": platform.machine(), "system": platform.platform()}
