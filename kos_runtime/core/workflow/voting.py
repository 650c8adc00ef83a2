"""A step on which peers vote: each is asked as an item is, what they gave is counted, and the log is the agreement.

The rules are a machine's, found by its name; the run keeps no state of it, since the peers' results are its ballots.
"""

from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.machine import Commanded, Concluded, Machine, Refused, Run, machine_named
from kos_runtime.core.peer.records import vote_stream
from kos_runtime.core.plan.model import Consensus
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.ending import keep_large
from kos_runtime.core.workflow.peers import PAXOS, agreed, question_of
from kos_runtime.core.workflow.state import Fan, StepState
from kos_runtime.core.workflow.values import dotted, fan_value, unpack_exposed

#: The machine that counts.
BALLOTS: Final = "ballots"
#: What ``on_deadlock`` says when a person is to decide, and what came of a vote whose peers cannot agree any more.
ESCALATE: Final = "escalate"
UNDECIDABLE: Final = "undecidable"


def propose(desk: Desk, step: StepState, form: Consensus) -> None:
    asked = question_of(form, step.path)
    if form.agreement == PAXOS:
        asked.update(agreement=PAXOS, rounds=form.rounds, deadline_ms=form.deadline_ms)
        asked["stream"] = vote_stream(desk.run.id, step.path, desk.run.fences)
    desk.emit(ev.ConsensusProposed(step.path, asked))


def counted(desk: Desk, step: StepState, fan: Fan, form: Consensus) -> tuple[dict[str, Any], list[str]] | None:
    """Return what came of the vote, and the ballots that did not count with the reason; None while that is open.

    Raises:
        NeedsData: A ballot lies in a blob that is not loaded.
        UnknownMachine: Nobody here knows how to count.
    """
    if form.agreement == PAXOS:
        found = agreed(desk, step, fan, form)
        return None if found is None else (found, [])
    machine: Machine[Any] = machine_named(BALLOTS)
    box = Run(machine, BALLOTS, question_of(form, step.path))
    not_counted = [f"{form.electors[index]}: {message}" for index, _, message in fan.failures]
    outcome = None
    for elector, given in zip(form.electors, fan_value(desk.run, step, ("items",)), strict=True):
        if given is None:
            continue
        made = box.take(Commanded({"elector": elector, "given": given.get("result", given)}), desk.now)
        if isinstance(made.reply, Refused):
            not_counted.append(made.reply.message)
        outcome = next((fact.outcome for fact in made.facts if isinstance(fact, Concluded)), None)
        if outcome is not None:
            break
    if outcome is None and fan.is_over():
        closed = box.take(Commanded({"closed": True}), desk.now)
        outcome = next(fact.outcome for fact in closed.facts if isinstance(fact, Concluded))
    return None if outcome is None else (outcome, not_counted)


def conclude(desk: Desk, step: StepState, form: Consensus, outcome: dict[str, Any], not_counted: list[str]) -> None:
    """End the step with the outcome; without one that was accepted, as ``on_deadlock`` says."""
    if not outcome["accepted"] and form.on_deadlock == "fail":
        message = f"{step.path}: the peers came to no outcome ({outcome['outcome']})"
        desk.emit(
            ev.StepGaveUp(step.path, failure(ErrorType.PERMANENT, message, step=step.path).to_plain(), "on_deadlock")
        )
        return
    escalates = not outcome["accepted"] and form.on_deadlock == ESCALATE
    try:
        values = outcome if escalates else _exposed(step, outcome)
        large = keep_large(desk, values)
        exposed = desk.run.codec.pack(values)
    except ValueError as error:
        problem = failure(ErrorType.VALIDATION, str(error), step=step.path, recoverable=False)
        desk.emit(ev.StepGaveUp(step.path, problem.to_plain(), "outputs"))
        return
    votes = [[line["elector"], line["choices"]] for line in outcome["votes"]]
    certificate = outcome["certificate"]["hash"]
    if escalates:
        desk.emit(ev.ConsensusEscalated(step.path, outcome["outcome"], votes, not_counted, certificate, exposed, large))
        _ask_person(desk, step, form, f"the peers came to no outcome ({outcome['outcome']})", "on_deadlock")
        return
    desk.emit(
        ev.ConsensusReached(
            step.path, outcome["outcome"], outcome["accepted"], votes, not_counted, certificate, exposed, large
        )
    )


def give_to_person(desk: Desk, step: StepState, form: Consensus, fan: Fan) -> None:
    """No majority of peers is left that could agree on anything. What the others agreed on nobody knows: a person decides.

    Where no peer has ever written anything there is nothing to be known, and the step has failed.
    """
    gone = [f"{form.electors[index]}: {message}" for index, _, message in fan.failures]
    if not step.joined:
        message = f"{step.path}: {len(gone)} of {len(form.electors)} peers cannot take part ({'; '.join(gone)})"
        error = failure(ErrorType.RESOURCE, message, step=step.path)
        desk.emit(ev.StepGaveUp(step.path, error.to_plain(), "electorate"))
        return
    known = {
        "outcome": UNDECIDABLE,
        "accepted": False,
        "votes": [],
        "rounds": 0,
        "certificate": {"hash": "", "tally": []},
    }
    exposed = desk.run.codec.pack(known)
    desk.emit(ev.ConsensusEscalated(step.path, UNDECIDABLE, [], gone, "", exposed, []))
    why = f"{UNDECIDABLE}: {len(gone)} of {len(form.electors)} peers are gone, and the others are no majority ({'; '.join(gone)})"
    _ask_person(desk, step, form, why, UNDECIDABLE)


def _ask_person(desk: Desk, step: StepState, form: Consensus, why: str, rule: str) -> None:
    prompt = f"{step.path}: {why}; one of {', '.join(form.options)}"
    fields = [["outcome", "string", True], ["reason", "string", False]]
    desk.emit(ev.ManualTaskRequested(step.path, step.id, prompt[:2_000], fields, rule))


def answered_by(desk: Desk, step: StepState, form: Consensus, data: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Return what the step exposes once a person has said how the vote ends.

    Raises:
        ValueError: It is none of the options.
    """
    said = data["outcome"]
    if said not in form.options:
        raise ValueError(f"{said!r} is no option; one of {', '.join(form.options)}")
    known = unpack_exposed(desk.run, step.exposed, step.blobs)
    return _exposed(step, {**known, "outcome": said, "reason": data.get("reason", ""), "decided_by": by})


def _exposed(step: StepState, outcome: dict[str, Any]) -> dict[str, Any]:
    """Return what the step exposes: each key of the outcome and all of it as ``result``, or what ``outputs`` says.

    Raises:
        ValueError: An output asks for what is not there.
    """
    outputs = step.node.step.outputs
    if outputs is None:
        return {**outcome, "result": outcome}
    found = {}
    for name, key in outputs:
        try:
            found[name] = outcome if key == "$result" else dotted(outcome, key.split("."), (name,))
        except ValueError as error:
            raise ValueError(f"the outcome of {step.path} has no {key!r}, which its output {name!r} needs") from error
    return found
