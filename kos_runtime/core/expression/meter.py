"""The budget of one evaluation."""

from typing import Final

from kos_runtime.core.expression.errors import EvaluationError

#: What one evaluation may cost: one for each node, for each element touched, for each ten characters touched.
BUDGET: Final = 100_000


class Meter:
    """What is left of a budget. Closures count ``left`` down themselves, since a call would cost more than the rest."""

    __slots__ = ("left", "limit", "what")

    def __init__(self, limit: int, what: str = "condition") -> None:
        self.limit = limit
        self.left = limit
        self.what = what

    def spend(self, cost: int, position: int) -> None:
        """Take ``cost`` units away.

        Raises:
            EvaluationError: The budget is used up.
        """
        self.left -= cost
        if self.left < 0:
            raise self.exhausted(position)

    def exhausted(self, position: int) -> EvaluationError:
        return EvaluationError(f"{self.what} too expensive (cost > {self.limit})", position)
