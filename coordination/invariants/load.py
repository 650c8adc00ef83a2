"""What balancing load must never do, as functions of a trace; the names are L1 to L3 and L5."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from coordination.load import Claimed, Finished, PeerLost, Submit
from kos_runtime.core.machine import Commanded, Invariant, Refused, Trace


def _facts(trace: Trace) -> Iterator[Any]:
    for step in trace.steps:
        yield from step.transition.facts


def one_owner(trace: Trace) -> list[str]:
    """L1: epochs only grow, so that of each task one owner is the newest."""
    highest = 0
    wrong = []
    for fact in _facts(trace):
        if isinstance(fact, Claimed):
            if fact.epoch <= highest:
                wrong.append(f"{fact.task} was claimed under epoch {fact.epoch} after {highest}")
            highest = max(highest, fact.epoch)
    return wrong


def nothing_lost(trace: Trace) -> list[str]:
    """L2: what was submitted is owned or finished, and finished once."""
    submitted: set[str] = set()
    owned: set[str] = set()
    finished: list[str] = []
    for step in trace.steps:
        command = step.cause.command if isinstance(step.cause, Commanded) else None
        if isinstance(command, Submit) and not isinstance(step.transition.reply, Refused):
            submitted.update(command.tasks)
        for fact in step.transition.facts:
            if isinstance(fact, Claimed):
                owned.add(fact.task)
            elif isinstance(fact, Finished):
                finished.append(fact.task)
    wrong = [f"{task} is nobody's" for task in sorted(submitted - owned)]
    return wrong + [f"{task} was finished twice" for task in sorted(set(finished)) if finished.count(task) > 1]


def owner_finishes(trace: Trace) -> list[str]:
    """L3 and L5: only who owns a task under its newest epoch finishes it, and nobody who is gone owns anything."""
    owner: dict[str, tuple[str, int]] = {}
    done: set[str] = set()
    gone: set[str] = set()
    wrong = []
    for step in trace.steps:
        for fact in step.transition.facts:
            if isinstance(fact, Claimed):
                owner[fact.task] = fact.peer, fact.epoch
                if fact.peer in gone or fact.task in done:
                    wrong.append(f"{fact.task} was given to {fact.peer}, who is gone, or it was done")
            elif isinstance(fact, Finished):
                done.add(fact.task)
                if owner.get(fact.task) != (fact.peer, fact.epoch):
                    wrong.append(f"{fact.task} was finished by {fact.peer}, whose it is not")
        # By what was recorded: an answer that nobody was given any more does not say whether it was done.
        for lost in [fact.peer for fact in step.transition.facts if isinstance(fact, PeerLost)]:
            gone.add(lost)
            wrong += [
                f"{task} is still {lost}'s" for task, (peer, _) in owner.items() if peer == lost and task not in done
            ]
    return wrong


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "L1 one owner": one_owner,
    "L2 nothing lost": nothing_lost,
    "L3 owner finishes": owner_finishes,
}
