"""The gate of a stage: what it knows, what it has breached, and what is compared beside it."""

from pydantic import Field

from controller.http.schemas.parts import Answer, Time


class Evidence(Answer):
    """What the sequential test of a gate knows: it stops when `value` reaches `threshold`, which is 1 / alpha.

    The share of failures lies between `low` and `high` with a probability of 1 - alpha, however often one looks.
    """

    value: float
    threshold: float
    above_percent: float
    alpha_percent: float
    low: float
    high: float


class Breach(Answer):
    """What a gate knew when it was breached."""

    at: Time
    failed: int
    exposed: int
    said: str


class Model(Answer):
    """The devices of one model in a stage, or, without a name, those of all models that have no test of their own.

    With `stops_on` failures it is quarantined, where models are tested. `breach` is the evidence by which it was.
    """

    model: str
    targets: int
    exposed: int
    failed: int
    stops_on: int | None
    is_quarantined: bool
    breach: Breach | None


class DryRun(Answer):
    """A rule on trial: what it would have done, in words, and what it knew when it would have stopped the stage."""

    name: str
    said: str
    breach: Breach | None


class Proof(Answer):
    """The proof by which a stage passes: of the first `counted` devices to begin, `failed` are not well, or not yet.

    The stage passes once `value` is `threshold`, which is 1 / beta. `said` says it in words.
    """

    said: str
    counted: int
    failed: int
    value: float
    threshold: float
    below_percent: float
    beta_percent: float
    is_proved: bool


class Arm(Answer):
    """Of one kind of devices: how many were ever `watched`, how many of them `crashed`, and how many told numbers."""

    watched: int
    crashed: int
    measured: int = 0


class Metric(Answer):
    """A metric of a control group: in `worse_pairs` of the `pairs` that told it the updated device was the worse one.

    `worse` says which of two numbers that is, `higher` or `lower`; `equal_pairs` tell nothing. `unpaired` updated
    devices told numbers and are compared with nobody by this one. The stage stops where `value` is `threshold`, which
    is 1 / alpha, if more were worse than were `accepted`; it takes `pairs_min` pairs at least. `breached_at` is when
    that was last, and `evidence` what was known then. `said` says it in words.
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
    accepted: int
    breached_at: Time | None
    evidence: str


class Control(Answer):
    """The control group of a stage: `held` devices were held back, and `left` of them still are.

    The stage stops where `value` is `threshold`, which is 1 / alpha, if more crashed of the updated devices than were
    `accepted`. `breached_at` is when that was last, and `evidence` what was known then. `said` says it in words.
    All of that is of crashes; `metrics` are compared beside them.
    """

    said: str
    held: int
    left: int
    updated: Arm
    control: Arm
    value: float
    threshold: float
    tolerated: float
    alpha_percent: float
    is_breached: bool
    accepted: int
    breached_at: Time | None
    evidence: str
    metrics: list[Metric] = Field(default_factory=list)


class Gate(Answer):
    """The gate of a stage: `failed` of `exposed` devices failed by the build's fault, and with `stops_on` it stops.

    `said` says it in words. `accepted` failures were accepted by whoever resumed the run; `breach` is the newest one.
    Quarantined models do not count; where they alone exceed a fixed limit, `stops_on` is 0. `closest` is the model that
    is next to be quarantined. `dry_runs` are the rules on trial. `proof` is that by which it passes, where it asks for
    one, `control` the group that it compares with.
    """

    said: str
    exposed: int
    failed: int
    stops_on: int | None
    is_breached: bool
    on_breach: str
    accepted: int
    evidence: Evidence | None
    breach: Breach | None
    models: list[Model]
    closest: str | None
    dry_runs: list[DryRun] = Field(default_factory=list)
    proof: Proof | None = None
    control: Control | None = None
