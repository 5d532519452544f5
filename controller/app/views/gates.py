"""The gate of a stage: what it knows, what it has breached, and what is compared beside it."""

from controller.app.views.parts import View
from protocol.units import Instant


class EvidenceView(View, frozen=True, kw_only=True):
    """What the sequential test of a gate knows; see `controller.domain.gates.judgement.Evidence`."""

    value: float
    threshold: float
    above_percent: float
    alpha_percent: float
    low: float
    high: float


class BreachView(View, frozen=True, kw_only=True):
    """What a gate knew when it was breached."""

    at: Instant
    failed: int
    exposed: int
    said: str


class ModelView(View, frozen=True, kw_only=True):
    """The devices of one model in a stage, or, without a name, those of all models that have no test of their own.

    Where models are tested, `stops_on` so many failures it is quarantined. Once it is, `breach` says by which evidence,
    that of this stage or of another one.
    """

    model: str
    targets: int
    exposed: int
    failed: int
    stops_on: int | None = None
    is_quarantined: bool = False
    breach: BreachView | None = None


class DryRunView(View, frozen=True, kw_only=True):
    """A rule on trial: what it would have done, in words, and what it knew when it would have stopped the stage."""

    name: str
    said: str
    breach: BreachView | None = None


class ProofView(View, frozen=True, kw_only=True):
    """The proof by which a stage passes: of the first `counted` devices to begin, `failed` are not well, or not yet.

    The stage passes once `value` is `threshold`: a build of which `below_percent` fail gets there with a probability of
    `beta_percent`. `said` says it in words.
    """

    said: str
    counted: int
    failed: int
    value: float
    threshold: float
    below_percent: float
    beta_percent: float
    is_proved: bool


class ArmView(View, frozen=True, kw_only=True):
    """Of one kind of devices: how many were ever `watched`, how many of them `crashed`, and how many told numbers."""

    watched: int
    crashed: int
    measured: int = 0


class MetricView(View, frozen=True, kw_only=True):
    """A metric of a control group: in `worse_pairs` of the `pairs` that told it the updated device was the worse one.

    `worse` says which of two numbers that is, `higher` or `lower`. `unpaired` updated devices told numbers and are
    compared with nobody by this one. The stage stops where `value` is `threshold`, which takes `pairs_min` pairs at
    least. `accepted` are the worse ones over which somebody resumed the run; `breached_at` is when it was breached
    last, and `evidence` what was known then.
    """

    name: str
    said: str
    worse: str
    pairs: int
    worse_pairs: int
    equal_pairs: int
    unpaired: int
    pairs_min: int
    value: float
    threshold: float
    alpha_percent: float
    is_breached: bool
    accepted: int = 0
    breached_at: Instant | None = None
    evidence: str = ""


class ControlView(View, frozen=True, kw_only=True):
    """The control group of a stage: `held` devices were held back, and `left` of them still are.

    The stage stops where `value` is `threshold`. `accepted` crashes of updated devices were accepted by whoever resumed
    the run; `breached_at` is when it was breached last, and `evidence` what was known then. `said` says it in words.
    All of that is of crashes; `metrics` are compared beside them.
    """

    said: str
    held: int
    left: int
    updated: ArmView
    control: ArmView
    value: float
    threshold: float
    tolerated: float
    alpha_percent: float
    is_breached: bool
    accepted: int = 0
    breached_at: Instant | None = None
    evidence: str = ""
    metrics: tuple[MetricView, ...] = ()


class GateView(View, frozen=True, kw_only=True):
    """The gate of a stage: `failed` of `exposed` devices failed by the build's fault, and `stops_on` so many it stops.

    `said` says it in words. `accepted` failures were accepted by whoever resumed the run, and `breach` is the newest
    breach. Quarantined models do not count, and where they alone exceed a fixed limit `stops_on` is 0; `models` are
    those of the stage, and `closest` is the one that is next to be quarantined, None while none has failed. `dry_runs`
    are the rules on trial. `proof` is that by which it passes, `control` the group with which its updated devices are
    compared.
    """

    said: str
    exposed: int
    failed: int
    stops_on: int | None
    is_breached: bool
    on_breach: str
    accepted: int = 0
    evidence: EvidenceView | None = None
    breach: BreachView | None = None
    models: tuple[ModelView, ...] = ()
    closest: str | None = None
    dry_runs: tuple[DryRunView, ...] = ()
    proof: ProofView | None = None
    control: ControlView | None = None
