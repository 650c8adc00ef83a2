"""What master and slaves must never do, as functions of a trace; the names are M1 to M7, and L6."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from coordination.assignment import Allowed, Done, GivenUp, Leased, LeaseLost
from coordination.worker import Alive, Work
from kos_runtime.core.machine import Began, Concluded, Invariant, Received, Step, Trace


def _facts(trace: Trace) -> Iterator[tuple[Step, Any]]:
    for step in trace.steps:
        if step.node == trace.setup.master:
            for fact in step.transition.facts:
                yield step, fact


def one_result(trace: Trace) -> list[str]:
    """M1: of each task one result is accepted, or none and it is given up."""
    seen: set[int] = set()
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, (Done, GivenUp)):
            if fact.task in seen:
                wrong.append(f"task {fact.task} is over twice")
            seen.add(fact.task)
    return wrong


def open_leases(trace: Trace) -> list[str]:
    """M2: a result is accepted under a lease that is open, and an epoch is given once."""
    leased: dict[int, int] = {}
    highest = 0
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Leased):
            if fact.epoch <= highest:
                wrong.append(f"epoch {fact.epoch} was given after {highest}")
            highest = max(highest, fact.epoch)
            leased[fact.epoch] = fact.task
        elif isinstance(fact, (Done, LeaseLost)) and leased.pop(fact.epoch, None) != fact.task:
            wrong.append(
                f"task {fact.task}: {type(fact).__name__} under epoch {fact.epoch}, which is not its open lease"
            )
    return wrong


def attempts(trace: Trace) -> list[str]:
    """M3: a task is leased as often as the policy allows, and once more side by side where that is allowed."""
    counts: dict[int, int] = defaultdict(int)
    open_of: dict[int, int] = defaultdict(int)
    setup = trace.setup
    most = setup.max_attempts + (1 if setup.idempotent else 0)
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Leased):
            counts[fact.task] += 1
            open_of[fact.task] += 1
            if counts[fact.task] > most:
                wrong.append(f"task {fact.task} was leased {counts[fact.task]} times, at most {most}")
            if open_of[fact.task] > (2 if setup.idempotent else 1):
                wrong.append(f"task {fact.task} is with {open_of[fact.task]} workers at the same time")
        elif isinstance(fact, (Done, LeaseLost)):
            open_of[fact.task] -= 1
    return wrong


def aggregate(trace: Trace) -> list[str]:
    """M4: what comes out is what was accepted, in the order of the tasks."""
    names = trace.setup.tasks
    done: dict[int, Any] = {}
    for _, fact in _facts(trace):
        if isinstance(fact, Done):
            done[fact.task] = fact.value
        elif isinstance(fact, Concluded):
            expected = [[names[i], done[i]] for i in sorted(done)]
            if fact.outcome["results"] != expected:
                return ["what comes out is not what was accepted"]
            if len(expected) + len(fact.outcome["failed"]) != len(names):
                return ["not every task is in what comes out"]
    return []


def progress(trace: Trace) -> list[str]:
    """M5: when all has healed, every task is over."""
    if any(isinstance(fact, Concluded) for _, fact in _facts(trace)):
        return []
    over = {fact.task for _, fact in _facts(trace) if isinstance(fact, (Done, GivenUp))}
    return [f"{len(trace.setup.tasks) - len(over)} of {len(trace.setup.tasks)} tasks are not over"]


def patience(trace: Trace) -> list[str]:
    """M6: no lease runs out while its worker shows in time that it is at work on it."""
    heard: dict[int, int] = {}
    wrong = []
    for step in trace.steps:
        if step.node != trace.setup.master:
            continue
        cause = step.cause
        if isinstance(cause, Received) and isinstance(cause.envelope.body, Alive) and not step.transition.ignored:
            for epoch in cause.envelope.body.epochs:
                heard[epoch] = step.at
        for fact in step.transition.facts:
            if isinstance(fact, Leased):
                heard[fact.epoch] = fact.at
            elif isinstance(fact, LeaseLost) and fact.why == "expired":
                silence = step.at - heard.get(fact.epoch, 0)
                if silence < trace.setup.lease_ms:
                    wrong.append(f"epoch {fact.epoch} ran out {silence} ms after a sign of life")
    return wrong


def recorded(trace: Trace) -> list[str]:
    """M7: work leaves under leases that are recorded."""
    leased: dict[int, tuple[int, str]] = {}
    wrong = []
    for step in trace.steps:
        for fact in step.transition.facts:
            if isinstance(fact, Leased):
                leased[fact.epoch] = fact.task, fact.worker
        for send in step.transition.sends:
            body = send.body
            if isinstance(body, Work) and leased.get(body.epoch) != (body.task, send.to):
                wrong += [f"task {body.task} was sent to {send.to} without a lease"]
    return wrong


def at_hand(trace: Trace) -> list[str]:
    """L6: no worker is given more at a time than it may have, as the setup says or as it has said itself."""
    if trace.setup.joins and not any(step.transition.notes for step in trace.steps):
        # How much a worker may have is a note, and a trace that was made of a log has none.
        return []
    held: dict[str, int] = defaultdict(int)
    holder: dict[int, str] = {}
    said: dict[str, int] = {}
    wrong = []
    for step in trace.steps:
        if step.node != trace.setup.master:
            continue
        if isinstance(step.cause, Began):
            # What workers said of themselves was noted, and is forgotten.
            said.clear()
        for fact in step.transition.facts:
            if isinstance(fact, Leased):
                holder[fact.epoch] = fact.worker
                held[fact.worker] += 1
                most = said.get(fact.worker) or trace.setup.at_hand
                if held[fact.worker] > most:
                    wrong.append(f"{fact.worker} has {held[fact.worker]} tasks at a time, at most {most}")
            elif isinstance(fact, (Done, LeaseLost)) and fact.epoch in holder:
                held[holder.pop(fact.epoch)] -= 1
        said.update({note.worker: note.at_hand for note in step.transition.notes if isinstance(note, Allowed)})
    return wrong


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "M1 one result": one_result,
    "M2 open leases": open_leases,
    "M3 attempts": attempts,
    "M4 aggregate": aggregate,
    "M5 progress": progress,
    "M6 patience": patience,
    "M7 recorded": recorded,
    "L6 at hand": at_hand,
}
