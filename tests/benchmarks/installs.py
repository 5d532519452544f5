"""Whole installs, from the command to the last report, beside goosebit, an update server that devices poll over HTTP.

Both serve the same number of devices on this machine, in turns, with an artifact of the same size and five reports
for each install. The clients run in processes of their own and are not counted.

What is compared: how many installs a second one server process completes, its CPU time for each, and what it takes
while nothing is to be done.

What is not alike, and whom that favours:

- goosebit has no TLS, no signatures and no device tokens here; our commands, reports, acknowledgements and requests
  are signed and verified, over mTLS and HTTPS.
- goosebit's devices keep their connections, never wait between polls while there is work, and send no log lines with
  their reports. Its server gets uvloop and httptools, which its own installation leaves out.
- Our devices share a few connections for downloads, as real ones would not, and keep one each for messages. Theirs
  poll only when there is work, as real ones could not know.
- goosebit's clients need no CPU to speak of; each of our devices verifies and signs, on the same machine. Where its
  cores are few, that holds our rate down.
- Both write to SQLite with a write-ahead log; a report is on the disk before it is answered.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from simulator.processes import ProcessFailed
from tests.benchmarks.goosebit import server
from tests.benchmarks.goosebit.environment import Unavailable, environment
from tests.benchmarks.goosebit.installs import GoosebitInstalls, goosebit_installs
from tests.benchmarks.measure import Figure
from tests.benchmarks.own_installs import OwnInstalls, own_installs
from tests.benchmarks.usage import Round

DEVICES: Final = 500
SIZE_BYTES: Final = 16_000
VERSIONS: Final = ("1.0.0", "2.0.0", "3.0.0")
"""One round each."""
IDLE_SECONDS: Final = 10.0
_UNLIKE: Final = (
    "not alike: goosebit is polled over plain HTTP without signatures or tokens; ours is signed over mTLS and HTTPS"
)


@dataclass(frozen=True)
class Side:
    """What one server did: medians of its rounds, and the share of a core that it takes when idle."""

    name: str
    per_second: float
    cpu_ms: float
    idle_share: float

    @classmethod
    def of(cls, name: str, rounds: Sequence[Round], *, idle_share: float) -> "Side":
        """Sum up *rounds*."""
        rate, cost = median(r.per_second for r in rounds), median(r.cpu_ms for r in rounds)
        return cls(name, rate, cost, idle_share)


@dataclass(frozen=True)
class Installs(Figure):
    """Installs a second beside the other server's; with what one costs, and what idling does."""

    ours: Side
    theirs: Side | None
    devices: int

    @classmethod
    def of(cls, ours: Side, theirs: Side | None, *, devices: int, why: str = "") -> "Installs":
        """Compare; without *theirs* the bound says *why* there is none."""
        bound = theirs.name if theirs else f"nothing beside it: {why}"
        rate = theirs.per_second if theirs else 0.0
        return cls("whole installs", ours.per_second, bound, rate, ours, theirs, devices)

    @property
    def ratio(self) -> float:
        """Return how many times the other server's rate ours is; 0 where there is none."""
        return self.per_second / self.bound_per_second if self.bound_per_second else 0.0

    @property
    def cpu_ratio(self) -> float:
        """Return which part of the other server's CPU time for an install ours is; 0 where there is none."""
        return self.ours.cpu_ms / self.theirs.cpu_ms if self.theirs else 0.0

    def line(self) -> str:
        """Return the figures for people."""
        if self.theirs is None:
            return "\n".join((_line(self.name, f"{self.per_second:,.0f}/s", self.bound), *_alone(self.ours)))
        a, b, count = self.ours, self.theirs, f"{self.devices} devices"
        return "\n".join(
            (
                _line(self.name, f"{a.per_second:,.0f}/s", f"{self.ratio:.2f} times {b.per_second:,.1f}/s  {b.name}"),
                _line(
                    "CPU of the server, an install", f"{a.cpu_ms:.1f} ms", f"{self.cpu_ratio:.2f} of {b.cpu_ms:.1f} ms"
                ),
                _line(f"idle, {count} connected", f"{a.idle_share:.2%} of a core", ""),
                _line("idle, as many that poll", f"{b.idle_share:.2%} of a core", _polls(self.devices)),
                f"  alike: {count}, artifacts of {SIZE_BYTES:,} bytes and a little packing, five reports each",
                f"  {_UNLIKE}",
                f"  {b.name}: {server.SETTINGS_IN_SHORT}",
            )
        )

    def data(self) -> dict[str, Any]:
        """Return the figures for programs; ratios are null where nothing stands beside ours."""
        ratios = {"ratio": round(self.ratio, 3), "cpu_ratio": round(self.cpu_ratio, 3)}
        return {**super().data(), **(ratios if self.theirs else dict.fromkeys(ratios))}


def _alone(ours: Side) -> Sequence[str]:
    return (
        _line("CPU of the server, an install", f"{ours.cpu_ms:.1f} ms", ""),
        _line("idle, all connected", f"{ours.idle_share:.2%} of a core", ""),
    )


def _line(name: str, value: str, beside: str) -> str:
    return f"{name:34} {value:>12}  {beside}".rstrip()


def _polls(devices: int) -> str:
    return (
        f"each every {server.POLL_SECONDS_DEFAULT} s, its default: {devices / server.POLL_SECONDS_DEFAULT:.1f} polls/s"
    )


def figures(devices: int = DEVICES) -> Iterator[Figure]:
    """Measure both, round by round in turn, so that what else the machine does meets both; ours alone if need be."""
    with tempfile.TemporaryDirectory(prefix="tidegate-installs-") as folder, ExitStack() as stack:
        ours = stack.enter_context(own_installs(_made(folder, "tidegate"), devices=devices))
        theirs: GoosebitInstalls | None = None
        why = ""
        try:
            half = goosebit_installs(_made(folder, "goosebit"), python=environment(), devices=devices)
            theirs = stack.enter_context(half)
        except (Unavailable, server.GoosebitFailed, ProcessFailed) as error:
            why = f"goosebit cannot be run here: {error}"
        yield _compare(ours, theirs, devices=devices, why=why)


def _made(folder: str, name: str) -> Path:
    made = Path(folder) / name
    made.mkdir()
    return made


def _compare(ours: OwnInstalls, theirs: GoosebitInstalls | None, *, devices: int, why: str) -> Installs:
    our_rounds, their_rounds = [], []
    for version in VERSIONS:
        size_bytes = ours.publish(version, size_bytes=SIZE_BYTES).length
        our_rounds.append(ours.roll_out(version))
        if theirs:
            their_rounds.append(theirs.roll_out(version, size_bytes=size_bytes))
    our_side = Side.of("Tidegate", our_rounds, idle_share=ours.idle_share(seconds=IDLE_SECONDS))
    if theirs is None:
        return Installs.of(our_side, None, devices=devices, why=why)
    their_idle = theirs.idle_share(seconds=IDLE_SECONDS)
    their_side = Side.of(theirs.server.about(), their_rounds, idle_share=their_idle)
    return Installs.of(our_side, their_side, devices=devices)
