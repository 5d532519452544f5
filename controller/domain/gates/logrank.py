"""Evidence that treated devices crash more than control devices of the same time: a stratified log-rank test.

The rules it keeps:

1. If at every moment the hazard of a treated device is at most `tolerated` times that of a control device of its
   stratum, a stage is ever stopped with a probability of at most alpha.
2. What befalls all devices of a stratum alike cancels: an outage, the hour, a ramp, late starters, those that leave.
3. Each stratum, such as a device model, has its own devices at risk, so that a build is not blamed for being rolled out
   to the models that crash anyway.

Only first crashes are events. At each, the chance that it is a treated device's is at most
tolerated n_T / (tolerated n_T + n_C), with n_T and n_C devices of its stratum still at risk; the rest is `Evidence`.

Sources: ter Schure, Pérez-Ortiz, Ly and Grünwald, The anytime-valid logrank test (New England Journal of Statistics in
Data Science, 2024); Lindon and Malek, Anytime-valid inference for multinomial count data (NeurIPS, 2022).

>>> from controller.domain.gates.odds import threshold
>>> crashes = [Crash(is_treated=True, treated=100, control=100 - n) for n in range(8)]
>>> evidence_of(crashes).log > threshold(0.01), evidence_of(crashes[:7]).log > threshold(0.01)
(True, False)
"""

from collections.abc import Iterable

import msgspec

from controller.domain.gates.odds import Evidence


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """The first crash of a device, and how many of its stratum were at risk then, itself included."""

    is_treated: bool
    treated: int
    control: int


def after_crash(evidence: Evidence, crash: Crash, *, tolerated: float = 1.0) -> Evidence:
    """Return the evidence after one more crash; unchanged where there is nobody to compare with.

    Args:
        evidence: what was known before, from all strata.
        crash: the next one in the order of time. Of crashes at one instant any may come first; the others then see one
            device fewer at risk.
        tolerated: the ratio of hazards up to which all is well, above 0: 1 is no worse than control.

    Raises:
        AssertionError: if the device that crashed is not among those at risk, or the ratio is none.
    """
    assert tolerated > 0, f"a ratio of hazards is above 0, not {tolerated}"
    assert min(crash.treated, crash.control) >= 0, f"a count of devices at risk is below zero: {crash}"
    assert (crash.treated if crash.is_treated else crash.control) > 0, f"nobody was at risk of this: {crash}"
    if not (crash.treated and crash.control):
        return evidence
    treated = tolerated * crash.treated
    return evidence.after(null=treated / (treated + crash.control), failed=crash.is_treated)


def evidence_of(crashes: Iterable[Crash], *, tolerated: float = 1.0) -> Evidence:
    """Return the evidence of all crashes in the order of time; of none, no evidence."""
    evidence = Evidence()
    for crash in crashes:
        evidence = after_crash(evidence, crash, tolerated=tolerated)
    return evidence
