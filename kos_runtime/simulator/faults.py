"""What can go wrong in a simulated world, by name, and how often it does."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest

#: name → (how likely it is each time that it can happen, unless said otherwise; what it is).
KINDS: Final[Mapping[str, tuple[float, str]]] = {
    "delay": (0.3, "a message takes up to five seconds"),
    "loss": (0.1, "a message is lost"),
    "duplicate": (0.1, "a message comes twice"),
    "reorder": (0.2, "a message overtakes those before it"),
    "partition": (0.004, "machines cannot reach each other for up to a minute"),
    "crash": (0.01, "the process of a partition is killed, at any place"),
    "zombie": (0.004, "the process of a partition stands still, is replaced, and goes on"),
    "agent_crash": (0.01, "the process of an agent is killed"),
    "machine": (0.003, "a machine goes down with all agents on it, and comes back without what they knew"),
    "blackout": (0.002, "all processes are killed at once"),
    "power": (0.003, "the power goes: what was not synced is lost or torn"),
    "disk_full": (0.02, "an append finds no space, or the store busy"),
    "ambiguous": (0.01, "an append is answered by nobody, whether it was stored or not"),
    "rival": (0.005, "somebody else claims the partition"),
    "slow_disk": (0.02, "an append takes up to ten seconds"),
    "clock": (0.01, "the wall clock jumps by up to an hour"),
    "hang": (0.02, "an action never ends"),
    "late": (0.05, "an action takes up to five minutes"),
    "garbage": (0.05, "an action returns something else than it should"),
    "raise": (0.05, "an action raises"),
    "kill": (0.01, "an action ends its process"),
    "unplaced": (0.02, "no process of a pool can be had at first"),
    "resend": (0.2, "a command is sent again although it was answered"),
    "steer": (0.4, "a person pauses, resumes, retries, cancels, forks or restores"),
}  # fmt: skip
#: What may happen to one attempt of one step, by name: these, and each kind of failure.
OF_A_STEP: Final = (*(kind.value for kind in ErrorType), "hang", "late", "garbage", "raise", "kill")
#: Those of ``KINDS`` that befall attempts.
OF_ATTEMPTS: Final = ("hang", "late", "garbage", "raise", "kill")
_AIMED: Final = re.compile(r"(?P<step>.+):(?P<kind>[a-z_]+)(@(?P<attempt>[0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class Aimed:
    """A fault of one attempt: ``step`` is a path or an id; ``attempt`` 0 is every attempt."""

    step: str
    kind: str
    attempt: int = 1

    def hits(self, path: str, attempt: int) -> bool:
        if self.attempt not in {0, attempt}:
            return False
        own = path.rpartition("/")[2]
        return self.step in {path, own, own.partition("[")[0]}

    def __str__(self) -> str:
        return f"{self.step}:{self.kind}@{self.attempt}"


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates by kind, and faults that are aimed at steps. At most ``most`` of each kind that stops something, a run."""

    rates: Mapping[str, float] = field(default_factory=dict)
    aimed: tuple[Aimed, ...] = ()
    most: int = 3

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Faults":
        """Read ``KIND``, ``KIND=RATE``, ``all``, ``none`` and ``STEP:KIND@ATTEMPT``.

        Raises:
            ValueError: One is none of these; the message says what there is.
        """
        rates: dict[str, float] = {}
        aimed: list[Aimed] = []
        for text in texts:
            name, equals, rate = text.partition("=")
            if name == "all":
                rates |= {kind: usual for kind, (usual, _) in KINDS.items()}
            elif name == "none" and not equals:
                rates = {}
            elif name in KINDS:
                rates[name] = _rate(text, rate) if equals else KINDS[name][0]
            elif (found := _AIMED.fullmatch(text)) is not None:
                aimed.append(_aimed(found))
            else:
                near = nearest(name, (*KINDS, "all", "none"))
                hint = f"did you mean {near!r}?" if near else f"there are {', '.join(KINDS)}, all, none"
                raise ValueError(f"no fault {text!r}; {hint} (of a step: STEP:KIND@ATTEMPT)")
        return cls(rates, tuple(aimed))

    @classmethod
    def drawn(cls, draw: Random, among: Mapping[str, float] | None = None) -> "Faults":
        """Draw some kinds, at least one: what never happens in a run lets other things happen that it would hide."""
        usual = {kind: rate for kind, (rate, _) in KINDS.items()} if among is None else dict(among)
        share = draw.choice((0.15, 0.3, 0.6))
        kinds = [kind for kind in usual if draw.random() < share] or [draw.choice(list(usual))]
        return cls({kind: round(min(1.0, usual[kind] * draw.choice((0.5, 1.0, 3.0))), 4) for kind in kinds})

    def texts(self) -> list[str]:
        """Return what ``parse`` reads as this."""
        return [*(f"{kind}={rate:.6g}" for kind, rate in self.rates.items()), *map(str, self.aimed)] or ["none"]

    def without(self, text: str) -> "Faults":
        """Return these without one of their ``texts``."""
        return Faults.parse([each for each in self.texts() if each not in {text, "none"}])

    def __bool__(self) -> bool:
        return bool(self.rates or self.aimed)


def _rate(text: str, rate: str) -> float:
    try:
        found = float(rate)
    except ValueError:
        found = -1.0
    if not 0.0 <= found <= 1.0:
        raise ValueError(f"the rate of {text!r} is a number from 0 to 1")
    return found


def _aimed(found: re.Match[str]) -> Aimed:
    kind, attempt = found["kind"], found["attempt"]
    if kind not in OF_A_STEP:
        near = nearest(kind, OF_A_STEP)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(OF_A_STEP)}"
        raise ValueError(f"no fault {kind!r} of a step; {hint}")
    return Aimed(found["step"], kind, 1 if attempt is None else int(attempt))
