"""Who plays in the demo: how many devices, and what they are like.

>>> cast = Cast(devices=20, agents=1)
>>> cast.labels
'ring=canary:3,ring=:17,region=eu:40,region=us:40,region=apac:20'
>>> cast.models
'kiosk-1:9.6,kiosk-2:6.4,kiosk-3:4'
"""

from typing import Final

import msgspec

from simulator.brokers import Kind
from simulator.demo.scenes import FAILING, UNFIT
from simulator.live.behaviour import Plan, draw, parse_behaviours

CANARIES_MIN: Final = 3
DEVICES_PER_CANARY: Final = 16
UNFIT_MIN: Final = 4
DEVICES_PER_UNFIT: Final = 5
"""One device in so many is of the model that a release does not start on, but enough to tell it from the others."""
BEHAVIOURS: Final = "slow=8%,flaky=4%,offline=4%"
PRETEND_BYTES: Final = 1_000_000
AWAY_SECONDS: Final = 6.0


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Who plays: how many simulated devices and real agents, drawn from which seed, and what carries the messages."""

    devices: int = 200
    agents: int = 3
    seed: int = 1
    broker: Kind | None = None

    @property
    def total(self) -> int:
        """All devices."""
        return self.devices + self.agents

    @property
    def labels(self) -> str:
        """The labels of the simulated devices, as ``tidegate simulate --labels`` takes them."""
        canaries = max(CANARIES_MIN, self.devices // DEVICES_PER_CANARY)
        return f"ring=canary:{canaries},ring=:{self.devices - canaries},region=eu:40,region=us:40,region=apac:20"

    @property
    def models(self) -> str:
        """Their hardware models, as ``tidegate simulate --model`` takes them."""
        unfit = max(UNFIT_MIN, self.devices // DEVICES_PER_UNFIT)
        fit = self.devices - unfit
        return f"kiosk-1:{fit * 0.6:g},kiosk-2:{fit * 0.4:g},{UNFIT}:{unfit}"

    @property
    def options(self) -> tuple[str, ...]:
        """What ``tidegate simulate`` is to be told of all this."""
        options = {
            "--devices": self.devices,
            "--seed": self.seed,
            "--labels": self.labels,
            "--model": self.models,
            "--behaviours": BEHAVIOURS,
            "--size": PRETEND_BYTES,
            "--away": AWAY_SECONDS,
        }
        play = (word for name, value in options.items() for word in (name, str(value)))
        fail = (word for version in FAILING for word in ("--fail-version", version))
        return (*play, *fail)

    @property
    def steady(self) -> frozenset[str]:
        """The simulated devices that are there from the first, and stay: neither offline at first nor flaky."""
        plan = Plan(count=self.devices, seed=self.seed, behaviours=parse_behaviours(BEHAVIOURS))
        return frozenset(one.id for one in draw(plan) if not one.away_ms and not one.drop_ms)
