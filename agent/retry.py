"""Trying again: the one wrapper around tenacity, with the project's defaults.

Full jitter, a cap for each wait, a limit of tries, and only for the errors that are named.
"""

from collections.abc import Callable
from typing import Final

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
)

from agent.clock import new_nonce
from agent.core.backoff import full_jitter
from agent.errors import Unreachable

BASE_MS: Final = 1_000
CAP_MS: Final = 60_000
TRIES_MAX: Final = 8
_MS_PER_SECOND: Final = 1_000


def retrying(
    *,
    sleep: Callable[[float], object],
    errors: tuple[type[Exception], ...] = (Unreachable,),
    but_not: tuple[type[Exception], ...] = (),
    tries_max: int = TRIES_MAX,
    base_ms: int = BASE_MS,
    cap_ms: int = CAP_MS,
) -> Retrying:
    """Return a caller that tries again after *errors*; the last one is raised as it is.

    Args:
        sleep: waits some seconds; give an event's `wait`, so that a stop ends the wait.
        errors: what is worth another try.
        but_not: those of them that are not.
        tries_max: the limit of tries.
        base_ms: the limit of the first wait.
        cap_ms: the limit of every wait.
    """
    seed = new_nonce()

    def wait(state: RetryCallState) -> float:
        attempt = state.attempt_number
        wait_ms = full_jitter(attempt=attempt - 1, base_ms=base_ms, cap_ms=cap_ms, seed=f"{seed}/{attempt}")
        return wait_ms / _MS_PER_SECOND

    def pause(seconds: float) -> None:
        sleep(seconds)

    return Retrying(
        sleep=pause,
        wait=wait,
        stop=stop_after_attempt(tries_max),
        retry=retry_if_exception_type(errors) & retry_if_not_exception_type(but_not),
        reraise=True,
    )
