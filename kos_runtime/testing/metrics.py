"""How the agents of a simulated world worked together, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from kos_runtime.simulator.world import BEGIN_MS, World

#: key → (heading, what it says).
COLUMNS = {
    "messages": ("MESSAGES", "sent between clients, partitions and agents"),
    "records": ("RECORDS", "decisions in the logs"),
    "attempts": ("ATTEMPTS", "bodies that were executed"),
    "retries": ("RETRIES", "attempts that were decided after a failure"),
    "redispatched": ("SENT AGAIN", "attempts whose process was lost"),
    "virtual_ms": ("TIME", "virtual milliseconds from the first command to the end"),
    "idle": ("IDLE", "share of the agents' time in which their hands were free"),
    "fairness": ("FAIRNESS", "Jain's index over what each process executed: 1 is equal"),
}


@dataclass(slots=True)
class Metrics:
    """See ``COLUMNS``."""

    messages: int = 0
    records: int = 0
    attempts: int = 0
    retries: int = 0
    redispatched: int = 0
    virtual_ms: int = 0
    idle: float = 0.0
    fairness: float = 1.0

    def as_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 4) for name in COLUMNS}


def metrics_of(world: World, names: Sequence[str]) -> Metrics:
    """Return the numbers of a world that came to rest; ``names`` are those of the events of each record."""
    told = " ".join(names)
    alive = sum(world.now - since for since, _, _ in world.processes.values())
    busy = sum(worked for _, worked, _ in world.processes.values())
    did = [count for _, _, count in world.processes.values() if count]
    return Metrics(
        messages=world.messages,
        records=len(names),
        attempts=sum(did),
        retries=told.count("retry_scheduled."),
        redispatched=told.count("step_redispatched."),
        virtual_ms=world.now - BEGIN_MS,
        idle=max(0.0, 1 - busy / alive) if alive else 0.0,
        fairness=sum(did) ** 2 / (len(did) * sum(count * count for count in did)) if did else 1.0,
    )


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the median and the 95th percentile."""
    if len(values) < 2:
        return (values[0], values[0], values[0]) if values else (0.0, 0.0, 0.0)
    cut = quantiles(values, n=20, method="inclusive")
    return min(values), cut[9], cut[18]
