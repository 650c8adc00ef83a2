"""How long to wait before a step is tried again."""

from kos_runtime.core.instant import Duration
from kos_runtime.core.plan.model import Backoff


def delay_before(retry: int, backoff: Backoff, chance: float) -> Duration:
    """Return how long to wait before a retry is made.

    With jitter the delay is spread evenly between nothing and the full delay ("full jitter": Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015), since spread matters more than the mean when many steps fail
    together.

    Args:
        retry: The retry about to be made, from 1.
        backoff: The policy; times in milliseconds.
        chance: A number in [0, 1); used only with jitter.

    Returns:
        Milliseconds, from 0 to ``backoff.max_ms`` inclusive, rounded down.

    Raises:
        ValueError: ``retry`` is below 1, ``chance`` lies outside [0, 1), or the strategy is unknown.

    >>> delay_before(3, Backoff(initial_ms=100, max_ms=5_000, jitter=False), 0.0)
    400
    """
    if retry < 1:
        raise ValueError(f"retries count from 1, got {retry}")
    if not 0 <= chance < 1:
        raise ValueError(f"chance lies in [0, 1), got {chance}")
    match backoff.strategy:
        case "fixed":
            full = float(backoff.initial_ms)
        case "linear":
            full = float(backoff.initial_ms * retry)
        case "exponential":
            # The exponent is capped: beyond it any delay is above any cap that parses.
            full = backoff.initial_ms * backoff.factor ** min(retry - 1, 64)
        case other:
            raise ValueError(f"unknown backoff strategy {other!r}; known are exponential, linear and fixed")
    full = min(full, float(backoff.max_ms))
    return Duration(int(full * chance) if backoff.jitter else int(full))
