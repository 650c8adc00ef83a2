"""A step on which peers vote: each is asked as an item is, what they gave is counted, and the log is the agreement.

The rules are a machine's, found by its name; the run keeps no state of it, since the peers' results are its ballots.
"""

from typing import Any, Final

from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.machine import Commanded, Concluded, Machine, Refused, Run, machine_named
from kos_runtime.core.plan.model import Consensus
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.ending import keep_large
from kos_runtime.core.workflow.state import Fan, StepState
from kos_runtime.core.workflow.values import dotted, fan_value

#: The machine that counts.
BALLOTS: Final = "ballots"


def setup_of(form: Consensus, subject: str) -> dict[str, Any]:
    """Return what the machine is set up with."""
    return {
        "subject": subject,
        "options": list(form.options),
        "electors": {name: form.weights.get(name, 1) for name in form.electors},
        "rule": form.rule,
        "threshold": form.threshold,
        "participation": form.participation,
        "on_deadlock": form.on_deadlock,
    }


def propose(desk: Desk, step: StepState, form: Consensus) -> None:
    desk.emit(ev.ConsensusProposed(step.path, setup_of(form, step.path)))


def counted(desk: Desk, step: StepState, fan: Fan, form: Consensus) -> tuple[dict[str, Any], list[str]] | None:
    """Return what came of the vote, and the ballots that did not count with the reason; None while that is open.

    Raises:
        NeedsData: A ballot lies in a blob that is not loaded.
        UnknownMachine: Nobody here knows how to count.
    """
    machine: Machine[Any] = machine_named(BALLOTS)
    box = Run(machine, BALLOTS, setup_of(form, step.path))
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
    try:
        values = _exposed(step, outcome)
        large = keep_large(desk, values)
        exposed = desk.run.codec.pack(values)
    except ValueError as error:
        problem = failure(ErrorType.VALIDATION, str(error), step=step.path, recoverable=False)
        desk.emit(ev.StepGaveUp(step.path, problem.to_plain(), "outputs"))
        return
    desk.emit(
        ev.ConsensusReached(
            step.path,
            outcome["outcome"],
            outcome["accepted"],
            [[line["elector"], line["choices"]] for line in outcome["votes"]],
            not_counted,
            outcome["certificate"]["hash"],
            exposed,
            large,
        )
    )


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
