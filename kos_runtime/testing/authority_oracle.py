"""What must hold of the authority in a run's history: the invariants that its machine is registered with, and that nothing
privileged starts but with the record of what allows it.
"""

from collections.abc import Sequence
from typing import Any

from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.event import rebuild
from kos_runtime.core.machine import (
    Commanded,
    Invariant,
    Step,
    Trace,
    Transition,
    UnknownMachine,
    registered,
    violations,
)
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.authority import MACHINE, RESTORED
from kos_runtime.core.workflow.state import StepState


def trace_of(events: Sequence[tuple[int, Any]]) -> Trace | None:
    """Return the trace of a run's authority, from its events with their times; None for a run without any."""
    setup: dict[str, Any] | None = None
    steps: list[Step] = []
    for time, event in events:
        match event:
            case ev.AuthorityOpened():
                # A run that was restored is told once more all that was decided.
                setup, steps = event.setup, []
            case ev.AuthorityRecorded():
                for label, values in event.facts:
                    fact = rebuild(label, [values])[0]
                    steps.append(Step(getattr(fact, "at", time), event.path, 1, Commanded(None), Transition([fact])))
            case _:
                pass
    return None if setup is None else Trace(setup, steps)


def check_authority(run: str, events: Sequence[tuple[int, Any]]) -> list[str]:
    """Return what the history of a run contradicts of A1 to A7."""
    if not any(isinstance(event, ev.AuthorityOpened) for _, event in events):
        return []
    make_installed_known()
    try:
        invariants: dict[str, Invariant] = dict(registered(MACHINE).invariants)
    except UnknownMachine as error:
        return [f"A: run {run}: {error}"]
    trace = trace_of(events)
    found = [] if trace is None else [f"{found} (run {run})" for found in violations(trace, invariants)]
    return found + _times(run, events)


def _times(run: str, events: Sequence[tuple[int, Any]]) -> list[str]:
    """A7: the instant of a decision that a fact names lies between the record before its own and its own."""
    found = []
    before = now = 0
    for time, event in events:
        if time != now:
            before, now = now, time
        if not isinstance(event, ev.AuthorityRecorded) or event.right == RESTORED:
            continue
        for label, values in event.facts:
            at = getattr(rebuild(label, [values])[0], "at", now)
            if not before <= at <= now:
                found.append(f"A7: run {run} says that {label} was decided at {at}, between {before} and {now}")
    return found


def unallowed(run: str, step: StepState | None, event: ev.StepScheduled, before: Any) -> list[str]:
    """Return what is wrong with the start of a step: what needs authority has it recorded right before, for itself."""
    if step is None or step.ask_of or not step.node.step.authority:
        return []
    if isinstance(before, ev.AuthorityRecorded) and before.path == event.path:
        used = [values[1] for label, values in before.facts if label.startswith("authority_used.")]
        if used == [need.grant for need in step.node.step.authority]:
            return []
    return [f"A1: run {run} started {event.path}, which needs authority, without a record of it"]
