"""A tree of agents with levels, the highest 0, and a person above all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kos_runtime.core.terms import term

MAX_LEVELS: Final = 15


@term("authority.hierarchy")
@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Who is above whom. Made by ``hierarchy``, which refuses circles."""

    person: str
    #: The superior of each agent; the person's own agents have the person.
    superiors: Mapping[str, str]
    levels: Mapping[str, int] = field(default_factory=dict)

    def above(self, agent: str) -> tuple[str, ...]:
        """Return all above an agent, the nearest first and the person last."""
        found = []
        while agent != self.person:
            agent = self.superiors[agent]
            found.append(agent)
        return tuple(found)

    def below(self, agent: str, level: int) -> tuple[str, ...]:
        """Return all of a level that stand below an agent, in order of their names."""
        return tuple(sorted(name for name, at in self.levels.items() if at == level and agent in self.above(name)))


def hierarchy(superiors: Mapping[str, str], person: str = "user:operator") -> Hierarchy:
    """Check and return a hierarchy; an agent without a superior is the person's own.

    Raises:
        ValueError: Somebody stands above themselves, a superior is not there, or there are too many levels.
    """
    full = {agent: superior or person for agent, superior in superiors.items()}
    if person in full:
        raise ValueError(f"{person} stands at the top, above everybody")
    levels = {}
    for agent, superior in full.items():
        walked, at = [agent], superior
        while at != person:
            if at in walked:
                raise ValueError("a circle in the hierarchy: " + " under ".join([*walked[walked.index(at) :], at]))
            if at not in full:
                raise ValueError(f"{at!r}, the superior of {walked[-1]!r}, is not in the hierarchy")
            walked.append(at)
            at = full[at]
        if len(walked) > MAX_LEVELS:
            raise ValueError(
                f"a hierarchy has at most {MAX_LEVELS} levels, and {agent!r} would be at level {len(walked) - 1}"
            )
        levels[agent] = len(walked) - 1
    return Hierarchy(person, full, levels)
