"""The side that works: takes what it is given, shows that it is alive, and says its result until that is taken.

A worker records nothing. What it forgets when it dies its master gives to another, and it never judges its own lease.
"""

from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.envelope import message
from kos_runtime.core.event import event
from kos_runtime.core.machine import (
    Began,
    Commanded,
    Consult,
    Fired,
    Received,
    Refused,
    Send,
    SetTimer,
    Stimulus,
    Transition,
)
from kos_runtime.core.terms import term

#: A worker is given at most so much at a time; what comes beyond it is left to its lease.
MAX_AT_HAND = 256


@message("work")
class Work:
    task: int
    name: str
    epoch: int
    attempt: int


@message("work_cancelled")
class CancelWork:
    epoch: int


@message("work_result_taken")
class ResultTaken:
    epoch: int


@message("worker_hello")
class Hello:
    """A worker begins, and holds nothing."""


@message("worker_alive")
class Alive:
    epochs: tuple[int, ...]


@message("worker_room")
class Room:
    """So much a worker may have at hand from now on."""

    at_hand: int


@message("work_result")
class Result:
    """``final``: another attempt would not do better."""

    task: int
    epoch: int
    value: Any
    error: str
    final: bool = False


@term("assignment.finish")
@dataclass(frozen=True, slots=True)
class Finish:
    """The worker's agent is done with what it was consulted on, or failed."""

    epoch: int
    value: Any = None
    error: str = ""
    #: Another attempt would not do better.
    final: bool = False


@event("work_taken")
class Taken:
    """A note."""

    work: Work


@event("work_finished")
class WorkFinished:
    """A note."""

    result: Result


@event("work_dropped")
class Dropped:
    """A note."""

    epoch: int


@dataclass(slots=True)
class Slave:
    me: str
    master: str
    heartbeat_ms: int
    at_work: dict[int, Work] = field(default_factory=dict)
    #: Results that the master has not taken yet.
    unsaid: dict[int, Result] = field(default_factory=dict)


def fold(state: Slave, fact: Any) -> None:
    match fact:
        case Taken(work):
            state.at_work[work.epoch] = work
        case WorkFinished(result):
            state.at_work.pop(result.epoch, None)
            state.unsaid[result.epoch] = result
        case Dropped(epoch):
            state.at_work.pop(epoch, None)
            state.unsaid.pop(epoch, None)


def decide(state: Slave, stimulus: Stimulus, now: int) -> Transition:
    beat = SetTimer("heartbeat", now + state.heartbeat_ms)
    match stimulus:
        case Began():
            return Transition(sends=(Send(state.master, Hello()),), timers=(beat,))
        case Fired():
            sends = [Send(state.master, result) for result in state.unsaid.values()]
            if state.at_work:
                sends.append(Send(state.master, Alive(tuple(state.at_work))))
            elif not sends:
                sends.append(Send(state.master, Hello()))
            return Transition(sends=sends, timers=(beat,))
        case Received(envelope):
            return _hear(state, envelope.sender, envelope.body)
        case Commanded(Finish() as said):
            work = state.at_work.get(said.epoch)
            if work is None:
                return Transition(reply=Refused("stale", "this work was called off"))
            result = Result(work.task, said.epoch, said.value, said.error, said.final)
            return Transition(notes=(WorkFinished(result),), sends=(Send(state.master, result),))
        case _:
            return Transition(reply=Refused("invalid", "a worker takes results of its agent only"))


def key_of(work: Work) -> str:
    """Return the key under which a worker asks its agent to do something."""
    return f"{work.name}@{work.epoch}"


def _hear(state: Slave, sender: str, body: Any) -> Transition:
    if sender != state.master:
        return Transition(ignored=f"{sender} is not the master")
    match body:
        case Work():
            if body.epoch in state.at_work or body.epoch in state.unsaid:
                return Transition(ignored="it has this already")
            if len(state.at_work) >= MAX_AT_HAND:
                return Transition(ignored=f"it is at work on {MAX_AT_HAND} already")
            return Transition(
                notes=(Taken(body),),
                consults=(Consult(state.me, key_of(body), [body.epoch, body.name, body.attempt]),),
            )
        case CancelWork() if body.epoch in state.at_work:
            return Transition(notes=(Dropped(body.epoch),), withdraws=(key_of(state.at_work[body.epoch]),))
        case CancelWork() | ResultTaken():
            return Transition(notes=(Dropped(body.epoch),))
        case _:
            return Transition(ignored=f"no master says {type(body).__name__}")
