"""Time that moves when it is told to."""


class VirtualClock:
    """Log time in milliseconds that stands still between steps."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance_to(self, instant: int) -> None:
        """Move to an instant; never back."""
        self._now = max(self._now, instant)
