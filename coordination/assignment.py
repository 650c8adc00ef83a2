"""Master and slaves (others say leader and workers): tasks under leases.

A task is *leased* to a worker for a time, under an epoch that no other lease has. The worker shows by heartbeats that it is
alive, which renews its leases; the master alone judges them, by its own clock. A result counts if its epoch is open, and
the first one that is recorded is the task's; all later ones are discarded, and said. A lease that ran out, a worker that
came back without its memory, a failure: the task goes to another, as often as the policy allows. A worker with three
strikes within a minute gets nothing until the oldest of them is a minute old.

After Gray and Cheriton, "Leases" (SOSP 1989). A straggler's task is given to a second worker when it takes 1.5 times the
median and three quarters of all are done, as Spark and MapReduce do (Dean and Ghemawat, OSDI 2004), and only where the work
may be done twice.

Leases are recorded before the work leaves; heartbeats are notes. A master that came back grants all open leases anew, in
full length, since it cannot know what it has missed.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from coordination.load import two_choices
from coordination.worker import Alive, CancelWork, Hello, Result, ResultTaken, Work
from kos_runtime.core.chance import draw
from kos_runtime.core.envelope import Envelope
from kos_runtime.core.event import event
from kos_runtime.core.machine import (
    Began,
    Commanded,
    Concluded,
    Fired,
    Received,
    Recovered,
    Refused,
    Send,
    SetTimer,
    Stimulus,
    Transition,
)

STRIKES: Final = 3
STRIKE_MS: Final = 60_000
#: The median is taken of so many durations, the newest.
SAMPLE: Final = 501
MAX_TASKS: Final = 10_000
#: Of one task so many leases are open at a time.
SIDE_BY_SIDE: Final = 2


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is to be done, by whom."""

    tasks: tuple[str, ...]
    workers: tuple[str, ...]
    master: str = "master"
    lease_ms: int = 10_000
    #: So long a worker that shows that it is alive may take; 0: without end.
    timeout_ms: int = 0
    #: Attempts of one task that may fail or be lost.
    max_attempts: int = 4
    #: What one worker is given at a time.
    at_hand: int = 1
    #: The work may be done twice at the same time.
    idempotent: bool = False
    seed: int = 0


def assignment(tasks: tuple[str, ...], workers: tuple[str, ...], **settings: Any) -> Assignment:
    """Check and return an assignment.

    Raises:
        ValueError: What is wrong with it.
    """
    for what, names in (("task", tasks), ("worker", workers)):
        twice = next((name for name, count in _counts(names).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"{what} {twice!r} is named twice")
    if not workers:
        raise ValueError("there is no worker to give anything to")
    if len(tasks) > MAX_TASKS:
        raise ValueError(f"at most {MAX_TASKS} tasks are assigned together, not {len(tasks)}")
    made = Assignment(tasks, workers, **settings)
    if made.master in workers:
        raise ValueError(f"{made.master!r} is the master and cannot be a worker too")
    return made


def _counts(names: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


@dataclass(frozen=True, slots=True)
class Fail:
    """Somebody outside knows that a worker has failed: what it has goes to others at once."""

    worker: str
    message: str = ""


# --- facts --------------------------------------------------------------------------------------

Loss = Literal["expired", "timeout", "failed", "worker_lost", "superseded"]


@event("task_leased")
class Leased:
    task: int
    worker: str
    attempt: int
    epoch: int
    at: int


@event("lease_lost")
class LeaseLost:
    """A lease is over without a result; ``strike`` when it speaks against the worker."""

    task: int
    epoch: int
    why: Loss
    message: str
    at: int
    strike: bool


@event("task_done")
class Done:
    task: int
    epoch: int
    value: Any
    took_ms: int


@event("task_given_up")
class GivenUp:
    """No attempt is left."""

    task: int
    message: str


@event("task_result_discarded")
class ResultDiscarded:
    task: int
    epoch: int
    why: Literal["stale", "duplicate"]


@event("leases_renewed")
class Renewed:
    """A note: a worker has shown that it is at work under these epochs; no epochs: under all it has."""

    worker: str
    epochs: tuple[int, ...]
    at: int


@event("worker_met")
class Met:
    """A note: a worker has said in which life it is."""

    worker: str
    life: int


# --- state --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Lease:
    task: int
    worker: str
    attempt: int
    epoch: int
    granted_at: int
    renewed_at: int


@dataclass(slots=True)
class Worker:
    leases: dict[int, Lease] = field(default_factory=dict)
    strikes: list[int] = field(default_factory=list)
    life: int = 0

    def is_excluded(self, now: int) -> bool:
        return len(self.strikes) >= STRIKES and self.strikes[-STRIKES] > now - STRIKE_MS


@dataclass(slots=True)
class Master:
    setup: Assignment
    waiting: deque[int]
    workers: dict[str, Worker]
    attempts: list[int]
    leases: dict[int, Lease] = field(default_factory=dict)
    open_of: dict[int, list[int]] = field(default_factory=dict)
    done: dict[int, Any] = field(default_factory=dict)
    given_up: dict[int, str] = field(default_factory=dict)
    durations: list[int] = field(default_factory=list)
    epochs: int = 0
    #: Epochs of which a result has been recorded, taken or discarded.
    heard: set[int] = field(default_factory=set)
    concluded: bool = False

    @property
    def is_over(self) -> bool:
        return len(self.done) + len(self.given_up) == len(self.setup.tasks)


def first_state(setup: Assignment) -> Master:
    count = len(setup.tasks)
    return Master(setup, deque(range(count)), {name: Worker() for name in setup.workers}, [0] * count)


def fold(state: Master, fact: Any) -> None:
    match fact:
        case Leased():
            lease = Lease(fact.task, fact.worker, fact.attempt, fact.epoch, fact.at, fact.at)
            state.leases[fact.epoch] = state.workers[fact.worker].leases[fact.epoch] = lease
            state.open_of.setdefault(fact.task, []).append(fact.epoch)
            state.attempts[fact.task] = fact.attempt
            state.epochs = fact.epoch
            if state.waiting and state.waiting[0] == fact.task:
                state.waiting.popleft()
        case LeaseLost():
            lease = _close(state, fact.epoch)
            if fact.strike:
                strikes = state.workers[lease.worker].strikes
                strikes.append(fact.at)
                del strikes[:-STRIKES]
            if fact.why != "superseded" and fact.task not in state.open_of:
                state.waiting.append(fact.task)
        case Done():
            _close(state, fact.epoch)
            state.done[fact.task] = fact.value
            state.heard.add(fact.epoch)
            insort(state.durations, fact.took_ms)
            if len(state.durations) > SAMPLE:
                del state.durations[0 if len(state.done) % 2 else -1]
        case GivenUp():
            state.given_up[fact.task] = fact.message
            state.waiting.remove(fact.task)
        case ResultDiscarded():
            state.heard.add(fact.epoch)
        case Renewed():
            held = state.workers[fact.worker].leases
            for epoch in fact.epochs or tuple(held):
                if epoch in held:
                    held[epoch].renewed_at = fact.at
        case Met():
            state.workers[fact.worker].life = fact.life
        case Concluded():
            state.concluded = True


def _close(state: Master, epoch: int) -> Lease:
    lease = state.leases.pop(epoch)
    del state.workers[lease.worker].leases[epoch]
    still = state.open_of[lease.task]
    still.remove(epoch)
    if not still:
        del state.open_of[lease.task]
    return lease


# --- deciding -----------------------------------------------------------------------------------


class Draft:
    """A transition as it is put together: each fact is folded into a plan of what is free, not into the state."""

    def __init__(self, state: Master, now: int) -> None:
        self.state, self.now = state, now
        self.facts: list[Any] = []
        self.notes: list[Any] = []
        self.sends: list[Send] = []
        self.ignored = ""
        self.epoch = state.epochs
        #: How many leases each worker will have more, or fewer, than in the state.
        self.change: dict[str, int] = {}
        self.struck: dict[str, list[int]] = {}
        self.again: list[tuple[int, int, str]] = []
        self.lost: set[int] = set()
        self.over = 0

    def lose(self, lease: Lease, why: Loss, message: str, *, strike: bool) -> None:
        self.facts.append(LeaseLost(lease.task, lease.epoch, why, message, self.now, strike))
        self.change[lease.worker] = self.change.get(lease.worker, 0) - 1
        if strike:
            self.struck.setdefault(lease.worker, []).append(self.now)
        self.lost.add(lease.epoch)
        if why != "superseded" and self.lost.issuperset(self.state.open_of[lease.task]):
            self.again.append((lease.task, self.state.attempts[lease.task], message))

    def load(self, worker: str) -> int:
        return len(self.state.workers[worker].leases) + self.change.get(worker, 0)

    def is_excluded(self, worker: str) -> bool:
        strikes = [*self.state.workers[worker].strikes, *self.struck.get(worker, ())]
        return len(strikes) >= STRIKES and strikes[-STRIKES] > self.now - STRIKE_MS


def decide(state: Master, stimulus: Stimulus, now: int) -> Transition:
    draft = Draft(state, now)
    match stimulus:
        case Began(incarnation):
            if incarnation > 1:
                draft.facts.append(Recovered(incarnation))
                draft.notes += [Renewed(name, (), now) for name, worker in state.workers.items() if worker.leases]
                draft.sends += [_work(state, lease) for lease in state.leases.values()]
        case Received(envelope):
            _hear(draft, envelope)
        case Fired():
            setup = state.setup
            for lease in state.leases.values():
                if now - lease.renewed_at >= setup.lease_ms:
                    draft.lose(lease, "expired", "no sign of life in time", strike=True)
                elif setup.timeout_ms and now - lease.granted_at >= setup.timeout_ms:
                    draft.lose(lease, "timeout", f"it took longer than {setup.timeout_ms} ms", strike=True)
                    draft.sends.append(Send(lease.worker, CancelWork(lease.epoch)))
        case Commanded(Fail() as said):
            if said.worker not in state.workers:
                return Transition(reply=Refused("not_found", f"{said.worker!r} is no worker of this assignment"))
            for lease in state.workers[said.worker].leases.values():
                draft.lose(lease, "worker_lost", said.message, strike=True)
                draft.sends.append(Send(said.worker, CancelWork(lease.epoch)))
        case Commanded(command):
            return Transition(reply=Refused("invalid", f"a master takes no {type(command).__name__}"))
    if state.concluded:
        return Transition(draft.facts, draft.notes, draft.sends, ignored=draft.ignored)
    _give_out(draft)
    if len(state.done) + len(state.given_up) + draft.over == len(state.setup.tasks):
        draft.facts.append(Concluded(aggregate(state, draft.facts)))
        timer = SetTimer("leases", 0)
    else:
        timer = SetTimer("leases", now + max(1, state.setup.lease_ms // 4))
    keeps = isinstance(stimulus, (Received, Commanded)) and timer.at > 0
    reply = _recovery(draft, stimulus.command.worker) if isinstance(stimulus, Commanded) else None
    return Transition(
        draft.facts, draft.notes, draft.sends, () if keeps else (timer,), reply=reply, ignored=draft.ignored
    )


class RecoveryAction(NamedTuple):
    """What was done about a worker that failed."""

    worker: str
    #: What it had and others have now; then what waits until somebody is free, and what has no attempt left.
    reassigned: tuple[tuple[str, str], ...]
    waiting: tuple[str, ...]
    given_up: tuple[str, ...]
    excluded: bool


def _recovery(draft: Draft, worker: str) -> RecoveryAction:
    names, facts = draft.state.setup.tasks, draft.facts
    lost = [fact.task for fact in facts if isinstance(fact, LeaseLost)]
    leased = {fact.task: fact.worker for fact in facts if isinstance(fact, Leased) and fact.task in lost}
    over = [fact.task for fact in facts if isinstance(fact, GivenUp)]
    return RecoveryAction(
        worker,
        tuple((names[task], to) for task, to in leased.items()),
        tuple(names[task] for task in lost if task not in leased and task not in over),
        tuple(names[task] for task in over),
        draft.is_excluded(worker),
    )


def _hear(draft: Draft, envelope: Envelope) -> None:
    state, worker, body = draft.state, envelope.sender, envelope.body
    if worker not in state.workers:
        draft.ignored = f"{worker} is no worker of this assignment"
        return
    known = state.workers[worker]
    if envelope.incarnation < known.life:
        draft.ignored = f"{worker} says this from an earlier life"
        return
    if envelope.incarnation > known.life:
        draft.notes.append(Met(worker, envelope.incarnation))
    match body:
        case Hello():
            if known.life and envelope.incarnation > known.life:
                for lease in known.leases.values():
                    draft.lose(lease, "worker_lost", f"{worker} came back without it", strike=False)
            else:
                # It has nothing, and should have: the work did not reach it.
                heard = draft.now - state.setup.lease_ms // 5
                draft.sends += [_work(state, lease) for lease in known.leases.values() if lease.renewed_at <= heard]
        case Alive():
            held = tuple(epoch for epoch in body.epochs if epoch in known.leases)
            if held:
                draft.notes.append(Renewed(worker, held, draft.now))
            draft.sends += [Send(worker, CancelWork(epoch)) for epoch in body.epochs if epoch not in known.leases]
        case Result():
            draft.sends.append(Send(worker, ResultTaken(body.epoch)))
            _take(draft, worker, body)
        case _:
            draft.ignored = f"no worker says {type(body).__name__}"


def _take(draft: Draft, worker: str, said: Result) -> None:
    state = draft.state
    lease = state.workers[worker].leases.get(said.epoch)
    if lease is None or lease.task != said.task:
        draft.ignored = "this lease is over"
        if said.epoch not in state.heard and 0 < said.epoch <= state.epochs and 0 <= said.task < len(state.setup.tasks):
            # One fact for each epoch: who repeats itself does not fill the log.
            draft.facts.append(
                ResultDiscarded(said.task, said.epoch, "duplicate" if said.task in state.done else "stale")
            )
        return
    if said.error:
        draft.lose(lease, "failed", said.error, strike=True)
        return
    draft.facts.append(Done(lease.task, lease.epoch, said.value, draft.now - lease.granted_at))
    draft.change[worker] = draft.change.get(worker, 0) - 1
    draft.over += 1
    for epoch in state.open_of[lease.task]:
        if epoch != lease.epoch:
            beaten = state.leases[epoch]
            draft.lose(beaten, "superseded", "another was first", strike=False)
            draft.sends.append(Send(beaten.worker, CancelWork(epoch)))


def _give_out(draft: Draft) -> None:
    state, setup = draft.state, draft.state.setup
    again = []
    for task, attempts, message in draft.again:
        if attempts >= setup.max_attempts:
            draft.facts.append(GivenUp(task, message))
            draft.over += 1
        else:
            again.append(task)
    free = [name for name in setup.workers if draft.load(name) < setup.at_hand and not draft.is_excluded(name)]
    for task in _in_turn(state, again):
        if not free:
            return
        worker = two_choices(free, draft.load, *_draws(setup, task, draft.epoch))
        _lease(draft, task, worker, free)
    if setup.idempotent and free:
        _speculate(draft, free)


def _in_turn(state: Master, again: list[int]) -> Iterator[int]:
    yield from state.waiting
    yield from again


def _draws(setup: Assignment, task: int, epoch: int) -> tuple[float, float]:
    name = setup.tasks[task]
    return draw(setup.seed, name, epoch, "first"), draw(setup.seed, name, epoch, "second")


def _lease(draft: Draft, task: int, worker: str, free: list[str]) -> None:
    draft.epoch += 1
    attempt = draft.state.attempts[task] + 1
    draft.facts.append(Leased(task, worker, attempt, draft.epoch, draft.now))
    draft.sends.append(Send(worker, Work(task, draft.state.setup.tasks[task], draft.epoch, attempt)))
    draft.change[worker] = draft.change.get(worker, 0) + 1
    if draft.load(worker) >= draft.state.setup.at_hand:
        free.remove(worker)


def _speculate(draft: Draft, free: list[str]) -> None:
    """Give the tasks of stragglers to a second worker, each once."""
    state, setup = draft.state, draft.state.setup
    if not state.durations or 4 * len(state.done) <= 3 * len(setup.tasks):
        return
    median = state.durations[len(state.durations) // 2]
    closed = {fact.epoch for fact in draft.facts if isinstance(fact, (Done, LeaseLost))}
    for lease in list(state.leases.values()):
        slow = 2 * (draft.now - lease.granted_at) > 3 * median
        if not slow or lease.epoch in closed or len(state.open_of[lease.task]) >= SIDE_BY_SIDE:
            continue
        if state.attempts[lease.task] > setup.max_attempts:
            continue
        others = [name for name in free if name != lease.worker]
        if others:
            _lease(draft, lease.task, two_choices(others, draft.load, *_draws(setup, lease.task, draft.epoch)), free)


def _work(state: Master, lease: Lease) -> Send:
    return Send(lease.worker, Work(lease.task, state.setup.tasks[lease.task], lease.epoch, lease.attempt))


def aggregate(state: Master, facts: list[Any]) -> dict[str, Any]:
    """Return all results in the order of the tasks, whatever the order in which they came."""
    done, given_up = dict(state.done), dict(state.given_up)
    for fact in facts:
        if isinstance(fact, Done):
            done[fact.task] = fact.value
        elif isinstance(fact, GivenUp):
            given_up[fact.task] = fact.message
    names = state.setup.tasks
    return {
        "results": [[names[i], done[i]] for i in sorted(done)],
        "failed": [[names[i], given_up[i]] for i in sorted(given_up)],
    }


def in_order_of_arrival(state: Master) -> list[tuple[str, Any]]:
    """Return what there is, as it came."""
    return [(state.setup.tasks[task], value) for task, value in state.done.items()]
