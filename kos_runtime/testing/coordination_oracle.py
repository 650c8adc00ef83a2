"""What must hold of every coordination in a history: its machine is run again over what the log says, and its own
invariants, which are registered beside it, are asked.
"""

from collections.abc import Sequence
from typing import Any, Final

from kos_runtime.core.machine import (
    Commanded,
    Concluded,
    Refused,
    Run,
    Step,
    Trace,
    Transition,
    UnknownMachine,
    invariants_of,
    machine_named,
    violations,
)
from kos_runtime.core.terms import fact_unwritten, unwritten
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.peers import PAXOS
from kos_runtime.core.workflow.state import Codec

#: The machine that counts ballots of a vote whose agreement is the log.
_BALLOTS: Final = "ballots"
#: What they speak of is said to a machine and not recorded, so that the log alone cannot tell.
_BESIDE_THE_LOG: Final = frozenset({"L6 at hand"})


def check_coordination(run: str, events: Sequence[tuple[int, Any]], codec: Codec) -> list[str]:
    """Return every violation of the coordination in one run's events, each with its time."""
    return [*_votes(run, [event for _, event in events], codec), *_machines(run, events, codec)]


def _machines(run: str, events: Sequence[tuple[int, Any]], codec: Codec) -> list[str]:
    """Ask the invariants of every machine that a step holds; that it comes to an end only of one that has."""
    found: list[str] = []
    held: dict[str, tuple[str, Trace, list[Step]]] = {}
    lives: dict[str, int] = {}
    for time, event in events:
        match event:
            case ev.MachineOpened(path=path, machine=name, setup=setup):
                found += _asked(run, path, held)
                steps: list[Step] = []
                held[path] = (name, Trace(unwritten(setup), steps), steps)
                lives[path] = 1
            case ev.MachineDecided(path=path, node=node, facts=packed):
                if path not in held:
                    found.append(f"C: run {run} recorded facts of {path}, which holds no machine")
                    continue
                facts = [fact_unwritten(label, values) for label, values in codec.unpack(packed)]
                held[path][2].append(Step(time, node, lives[path], Commanded(None), Transition(facts)))
            case ev.MachineRecovered(path=path, life=life):
                if life <= lives.get(path, 0):
                    found.append(
                        f"C: run {run} began the machine of {path} for the {life}. time after {lives.get(path, 0)}"
                    )
                lives[path] = life
            case ev.RestoreBegun():
                for path in list(held):
                    found += _asked(run, path, held)
                held.clear()
                lives.clear()
            case _:
                pass
    for path in list(held):
        found += _asked(run, path, held)
    return found


def _asked(run: str, path: str, held: dict[str, tuple[str, Trace, list[Step]]]) -> list[str]:
    if path not in held:
        return []
    name, trace, steps = held.pop(path)
    over = any(isinstance(fact, Concluded) for step in steps for fact in step.transition.facts)
    asked = {
        title: check
        for title, check in invariants_of(name).items()
        if title not in _BESIDE_THE_LOG and (over or "progress" not in title)
    }
    return [f"{text} (run {run}, {path})" for text in violations(trace, asked)]


def _votes(run: str, events: Sequence[Any], codec: Codec) -> list[str]:
    found: list[str] = []
    asked: dict[str, dict[str, Any]] = {}
    given: dict[str, bytes] = {}
    #: Votes that were open when the run was given another life: they may be put anew, or go on.
    again: set[str] = set()
    for event in events:
        match event:
            case ev.ConsensusProposed(path=path, question=question):
                if path in asked and path not in again:
                    found.append(f"C3: run {run} put {path} to the vote twice")
                asked[path] = question
                again.discard(path)
                for key in [key for key in given if key.startswith(f"{path}[")]:
                    del given[key]
            case ev.StepCompleted(path=path, exposed=exposed) if asked and path.endswith("]"):
                given[path] = exposed
            case ev.ConsensusReached(path=path):
                if path not in asked:
                    found.append(f"C2: run {run} decided {path}, which was never put to the vote")
                else:
                    found += _vote(run, event, asked.pop(path), given, codec)
            case ev.RestoreBegun():
                asked.clear()
            case ev.RunReopened() | ev.RunForked() | ev.RunRestored():
                again.update(asked)
            case _:
                pass
    return found


def _agreed(run: str, event: ev.ConsensusReached, given: dict[str, bytes], codec: Codec) -> list[str]:
    """A decision of peers is what one of them reported: ``check_peers`` asks their own records."""
    said = {
        outcome["certificate"]["hash"]
        for path, exposed in given.items()
        if path.startswith(f"{event.path}[") and (outcome := codec.unpack(exposed).get("result")) is not None
    }
    if said and event.certificate not in said:
        return [f"C2: run {run} decided {event.certificate} at {event.path}, its peers {sorted(said)}"]
    return []


def _vote(
    run: str, event: ev.ConsensusReached, question: dict[str, Any], given: dict[str, bytes], codec: Codec
) -> list[str]:
    """Count again, by the ballots that stand in the log before the decision."""
    if question.get("agreement") == PAXOS:
        return _agreed(run, event, given, codec)
    try:
        box = Run(machine_named(_BALLOTS), _BALLOTS, question)
    except UnknownMachine:
        return []
    steps: list[Step] = []
    outcome: dict[str, Any] | None = None

    def take(command: dict[str, Any]) -> Any:
        nonlocal outcome
        made = box.take(Commanded(command), 0)
        if not isinstance(made.reply, Refused):
            steps.append(Step(0, _BALLOTS, 1, Commanded(command), made))
        outcome = next((fact.outcome for fact in made.facts if isinstance(fact, Concluded)), outcome)

    for number, elector in enumerate(question["electors"]):
        exposed = given.get(f"{event.path}[{number}]")
        if exposed is not None and outcome is None:
            values = codec.unpack(exposed)
            take({"elector": elector, "given": values.get("result", values)})
    if outcome is None:
        take({"closed": True})
    assert outcome is not None
    said = (event.outcome, event.accepted, event.votes, event.certificate)
    counted = (
        outcome["outcome"],
        outcome["accepted"],
        [[line["elector"], line["choices"]] for line in outcome["votes"]],
        outcome["certificate"]["hash"],
    )
    found = [f"C2: run {run} decided {said} at {event.path}, its ballots say {counted}"] if said != counted else []
    broken = violations(Trace(question, steps), invariants_of(_BALLOTS))
    return [*found, *(f"{text} (run {run}, {event.path})" for text in broken)]
