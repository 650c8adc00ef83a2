"""How the agents of a simulated world worked together, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from kos_runtime.core.workflow import events as ev
from kos_runtime.simulator.world import BEGIN_MS, World
from kos_runtime.testing.oracle import Line

#: key → (heading, what it says).
COLUMNS = {
    "messages": ("MESSAGES", "sent between clients, partitions and agents"),
    "records": ("RECORDS", "decisions in the logs"),
    "processes": ("AGENTS", "agents' processes that there were"),
    "attempts": ("ATTEMPTS", "bodies that were executed"),
    "retries": ("RETRIES", "attempts that were decided after a failure"),
    "redispatched": ("SENT AGAIN", "attempts whose process was lost"),
    "said": ("SAID", "messages that agents sent to each other"),
    "answer_ms": ("ANSWER", "virtual milliseconds until who asked another agent was answered, the median"),
    "votes": ("VOTES", "votes that came to an end"),
    "rounds": ("ROUNDS", "rounds of votes"),
    "decide_ms": ("DECIDE", "virtual milliseconds from putting something to the vote until it was decided, the median"),
    "virtual_ms": ("TIME", "virtual milliseconds from the first command to the end"),
    "idle": ("IDLE", "share of the agents' time in which their hands were free"),
    "fairness": ("FAIRNESS", "Jain's index over what each process executed: 1 is equal"),
}


@dataclass(slots=True)
class Metrics:
    """See ``COLUMNS``."""

    messages: int = 0
    records: int = 0
    processes: int = 0
    attempts: int = 0
    retries: int = 0
    redispatched: int = 0
    said: int = 0
    answer_ms: float = 0.0
    votes: int = 0
    rounds: int = 0
    decide_ms: float = 0.0
    virtual_ms: int = 0
    idle: float = 0.0
    fairness: float = 1.0

    def as_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 4) for name in COLUMNS}


def metrics_of(world: World, names: Sequence[str], runs: Sequence[Sequence[Line]] = ()) -> Metrics:
    """Return the numbers of a world that came to rest.

    ``names`` are those of the events of each record, ``runs`` the events of each run; without them nothing is said of how
    long answers and decisions took.
    """
    told = " ".join(names)
    alive = sum(world.now - since for since, _, _ in world.processes.values())
    busy = sum(worked for _, worked, _ in world.processes.values())
    did = [count for _, _, count in world.processes.values() if count]
    answers, decisions, rounds = _waits(runs)
    return Metrics(
        said=told.count("message_sent."),
        answer_ms=median(answers) if answers else 0.0,
        votes=told.count("consensus_reached."),
        rounds=rounds,
        decide_ms=median(decisions) if decisions else 0.0,
        messages=world.messages,
        records=len(names),
        processes=len(world.processes),
        attempts=sum(did),
        retries=told.count("retry_scheduled."),
        redispatched=told.count("step_redispatched."),
        virtual_ms=world.now - BEGIN_MS,
        idle=max(0.0, 1 - busy / alive) if alive else 0.0,
        fairness=sum(did) ** 2 / (len(did) * sum(count * count for count in did)) if did else 1.0,
    )


def _waits(runs: Sequence[Sequence[Line]]) -> tuple[list[int], list[int], int]:
    """Return how long answers and decisions took, and how many rounds of votes there were."""
    answers: list[int] = []
    decisions: list[int] = []
    rounds = 0
    for lines in runs:
        asked: dict[int, int] = {}
        begun: dict[str, int] = {}
        for line in lines:
            match line.event:
                case ev.MessageSent(number=number, ask=True):
                    asked[number] = line.time
                case ev.MessageHandled(number=number) if number in asked:
                    answers.append(line.time - asked.pop(number))
                case ev.ConsensusProposed(path=path):
                    begun[path] = line.time
                    rounds += 1
                case ev.ConsensusReached(path=path) if path in begun:
                    decisions.append(line.time - begun.pop(path))
                case _:
                    pass
    return answers, decisions, rounds


def told(name: str, value: float) -> str:
    """Return a number as people read it: times in their unit, shares in percent."""
    if name == "idle":
        return f"{value:.0%}"
    if not name.endswith("_ms"):
        return f"{value:.3g}" if value < 1_000 else f"{value:.0f}"
    for unit, length in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if value >= 2 * length or (unit == "s" and value >= length):
            return f"{value / length:.3g} {unit}"
    return f"{value:.0f} ms"


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the median and the 95th percentile."""
    if len(values) < 2:
        return (values[0], values[0], values[0]) if values else (0.0, 0.0, 0.0)
    cut = quantiles(values, n=20, method="inclusive")
    return min(values), cut[9], cut[18]
