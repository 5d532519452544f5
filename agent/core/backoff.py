"""How long to wait before another try: full jitter, drawn by hash, so that it needs no source of chance.

>>> full_jitter(attempt=3, base_ms=1_000, cap_ms=60_000, seed="acme:kiosk-17/3") <= 8_000
True
"""

import hashlib

from protocol.units import Millis

_EXPONENT_MAX = 30


def full_jitter(*, attempt: int, base_ms: int, cap_ms: int, seed: str) -> Millis:
    """Return a wait between 0 and ``min(cap_ms, base_ms * 2 ** attempt)``, uniform over seeds.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").

    Args:
        attempt: how many tries have failed, from 0 on.
        base_ms: the limit of the first wait.
        cap_ms: the limit of every wait.
        seed: what the wait is drawn from: another for every device and attempt.
    """
    limit = min(cap_ms, base_ms * 2 ** min(max(attempt, 0), _EXPONENT_MAX))
    return spread(limit, seed=seed)


def spread(limit_ms: int, *, seed: str) -> Millis:
    """Return a wait between 0 and *limit_ms*, uniform over seeds.

    >>> spread(0, seed="any")
    0
    """
    draw = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
    return Millis(draw * (limit_ms + 1) >> 64)
