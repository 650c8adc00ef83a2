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
from coordination.worker import Alive, CancelWork, Hello, Result, ResultTaken, Room, Work
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
from kos_runtime.core.terms import term

STRIKES: Final = 3
STRIKE_MS: Final = 60_000
#: The median is taken of so many durations, the newest.
SAMPLE: Final = 501
MAX_TASKS: Final = 10_000
#: Of one task so many leases are open at a time.
SIDE_BY_SIDE: Final = 2


@term("assignment")
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
    #: A worker is given something once it has said hello, and no more when it has failed until it says so again.
    joins: bool = False


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
    for name, least in (("lease_ms", 1), ("max_attempts", 1), ("at_hand", 1), ("timeout_ms", 0)):
        if getattr(made, name) < least:
            raise ValueError(f"{name} is at least {least}, not {getattr(made, name)}")
    if made.master in workers:
        raise ValueError(f"{made.master!r} is the master and cannot be a worker too")
    return made


def _counts(names: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


@term("assignment.fail")
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


@event("worker_left")
class Left:
    """A note: a worker is gone until it says hello again."""

    worker: str


@event("worker_has_room")
class Allowed:
    """A note: so much a worker may have at hand."""

    worker: str
    at_hand: int


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
    #: Of what it is given at a time, unless the setup's own; 0 for that.
    room: int = 0

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
            lease = _close(state, fact.epoch)
            if state.setup.joins:
                # Of tasks that fail by themselves each worker meets some: only who does nothing else is left out.
                state.workers[lease.worker].strikes.clear()
            state.done[fact.task] = fact.value
            state.heard.add(fact.epoch)
            insort(state.durations, fact.took_ms)
            if len(state.durations) > SAMPLE:
                del state.durations[0 if len(state.done) % 2 else -1]
        case GivenUp():
            state.given_up[fact.task] = fact.message
            if state.waiting[-1] == fact.task:
                state.waiting.pop()
            else:
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
        case Left():
            state.workers[fact.worker].life = 0
        case Allowed():
            state.workers[fact.worker].room = fact.at_hand
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
        #: Workers of whom it has just become known that they are there, and that they are gone.
        self.joined = self.left = ""
        self.again: list[tuple[int, int, str]] = []
        self.lost: set[int] = set()
        self.over = 0

    def lose(self, lease: Lease, why: Loss, message: str, *, strike: bool, final: bool = False) -> None:
        self.facts.append(LeaseLost(lease.task, lease.epoch, why, message, self.now, strike))
        self.change[lease.worker] = self.change.get(lease.worker, 0) - 1
        if strike:
            self.struck.setdefault(lease.worker, []).append(self.now)
        self.lost.add(lease.epoch)
        if why != "superseded" and self.lost.issuperset(self.state.open_of[lease.task]):
            attempts = self.state.setup.max_attempts if final else self.state.attempts[lease.task]
            self.again.append((lease.task, attempts, message))

    def is_there(self, worker: str) -> bool:
        return worker != self.left and (worker == self.joined or self.state.workers[worker].life > 0)

    def has_room(self, worker: str) -> bool:
        return self.load(worker) < (self.state.workers[worker].room or self.state.setup.at_hand)

    def load(self, worker: str) -> int:
        return len(self.state.workers[worker].leases) + self.change.get(worker, 0)

    def is_excluded(self, worker: str) -> bool:
        if not self.struck and not self.state.workers[worker].strikes:
            return False
        strikes = [*self.state.workers[worker].strikes, *self.struck.get(worker, ())]
        return len(strikes) >= STRIKES and strikes[-STRIKES] > self.now - STRIKE_MS


def decide(state: Master, stimulus: Stimulus, now: int) -> Transition:
    draft, setup = Draft(state, now), state.setup
    match stimulus:
        case Began(incarnation):
            if incarnation > 1:
                draft.facts.append(Recovered(incarnation))
                draft.notes += [Renewed(name, (), now) for name, worker in state.workers.items() if worker.leases]
                draft.sends += [_work(state, lease) for lease in state.leases.values()]
        case Received(envelope):
            _hear(draft, envelope)
        case Fired():
            for lease in state.leases.values():
                if now - lease.renewed_at >= setup.lease_ms:
                    draft.lose(lease, "expired", "no sign of life in time", strike=True)
                    # Should it be at work after all: what it makes of it would not count.
                    draft.sends.append(Send(lease.worker, CancelWork(lease.epoch)))
                elif setup.timeout_ms and now - lease.granted_at >= setup.timeout_ms:
                    draft.lose(lease, "timeout", f"it took longer than {setup.timeout_ms} ms", strike=True)
                    draft.sends.append(Send(lease.worker, CancelWork(lease.epoch)))
        case Commanded(Fail() as said):
            if said.worker not in state.workers:
                return Transition(reply=Refused("not_found", f"{said.worker!r} is no worker of this assignment"))
            strike = True
            for lease in state.workers[said.worker].leases.values():
                # It has failed once, whatever it had at hand.
                draft.lose(lease, "worker_lost", said.message, strike=strike)
                draft.sends.append(Send(said.worker, CancelWork(lease.epoch)))
                strike = False
            if setup.joins:
                draft.left = said.worker
                draft.notes.append(Left(said.worker))
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


@term("assignment.recovery")
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
        draft.joined = worker
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
        case Room():
            draft.notes.append(Allowed(worker, body.at_hand))
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
        # What nobody could do better speaks against nobody.
        draft.lose(lease, "failed", said.error, strike=not said.final, final=said.final)
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
    free = [name for name in setup.workers if draft.has_room(name) and (not setup.joins or draft.is_there(name))]
    fine = [name for name in free if not draft.is_excluded(name)]
    if fine or not setup.joins or any(draft.is_there(name) and not draft.is_excluded(name) for name in setup.workers):
        free = fine
    for task in _in_turn(state, again):
        if not free:
            return
        only = free[0] if len(free) == 1 else ""
        worker = only or two_choices(free, draft.load, *_draws(setup, task, draft.epoch))
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
    if not draft.has_room(worker):
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


def to_plain(state: Master) -> list[Any]:
    """Return what the facts have made of a master, as plain data."""
    leases = [[e.task, e.worker, e.attempt, e.epoch, e.granted_at] for e in state.leases.values()]
    strikes = {name: list(worker.strikes) for name, worker in state.workers.items() if worker.strikes}
    return [
        list(state.waiting), list(state.attempts), leases, strikes, [[task, value] for task, value in state.done.items()],
        [[task, why] for task, why in state.given_up.items()], list(state.durations), state.epochs, sorted(state.heard),
        state.concluded,
    ]  # fmt: skip


def from_plain(setup: Assignment, plain: list[Any]) -> Master:
    waiting, attempts, leases, strikes, done, given_up, durations, epochs, heard, concluded = plain
    state = first_state(setup)
    state.waiting, state.attempts = deque(waiting), list(attempts)
    for task, worker, attempt, epoch, at in leases:
        state.leases[epoch] = state.workers[worker].leases[epoch] = Lease(task, worker, attempt, epoch, at, at)
        state.open_of.setdefault(task, []).append(epoch)
    for name, struck in strikes.items():
        state.workers[name].strikes = list(struck)
    state.done, state.given_up = dict(done), dict(given_up)
    state.durations, state.epochs, state.heard, state.concluded = list(durations), epochs, set(heard), concluded
    return state


def in_order_of_arrival(state: Master) -> list[tuple[str, Any]]:
    """Return what there is, as it came."""
    return [(state.setup.tasks[task], value) for task, value in state.done.items()]
