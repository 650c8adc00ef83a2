"""A machine that a step holds, as the run's events tell of it, and how each of them changes it.

Its facts are folded where they are decided and where they are read. Everything that a host owes beside them (timers,
notes, what is on its way between nodes) is gone with the process, and said again when the machine begins once more.
"""

from collections.abc import Sequence
from typing import Any, Final

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.machine import Concluded, machine_named
from kos_runtime.core.machine import Run as Instance
from kos_runtime.core.plan.model import Action, Step
from kos_runtime.core.plan.program import Node
from kos_runtime.core.terms import fact_unwritten, unwritten
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.state import CLOSE, ENTER, Run, StepState
from kos_runtime.core.workflow.status import StepStatus

#: What stands beside a step as a question of its machine.
BESIDE: Final = "question"
#: What an answer is recorded under.
ANSWER: Final = "answer"


class Held:
    """One machine with its nodes."""

    __slots__ = (
        "alive", "asks", "crew", "facts", "fresh", "life", "machine", "name", "nodes", "numbers", "outcome", "path", "pushed", "setup", "timed", "timers",
        "version",
    )  # fmt: skip

    def __init__(self, path: str, name: str, version: int, setup: Any, nodes: list[str]) -> None:
        self.path, self.name, self.version, self.setup = path, name, version, setup
        self.machine = machine_named(name)
        made = unwritten(setup)
        self.nodes: dict[str, Instance[Any]] = {node: Instance(self.machine, node, made) for node in nodes}
        #: How often its nodes have begun.
        self.life = 1
        #: Whether one of its nodes waits for time.
        self.timed = False
        #: What it has come to, as ``[outcome]``.
        self.outcome: list[Any] | None = None
        #: key of the step that stands for it → [node, who, key, question, agent, action] of each open question.
        self.asks: dict[str, list[Any]] = {}
        #: Of a machine whose state is not to be had as plain data, all facts of its nodes, in order.
        self.facts: list[list[Any]] | None = None if hasattr(self.machine, "to_plain") else []
        # Not folded.
        #: The facts themselves of what is being decided.
        self.fresh: Sequence[Any] | None = None
        #: Whether its nodes have begun in this process.
        self.alive = False
        #: Who works on the tasks of a step that has a master (``mastering.Crew``).
        self.crew: Any = None
        #: (node, name) → when a timer is due; and the earliest instant at which it is looked at.
        self.timers: dict[tuple[str, str], int] = {}
        self.pushed: dict[tuple[str, str], int] = {}
        #: node → how many messages it has sent in this life.
        self.numbers: dict[str, int] = {}

    def fold(self, node: str, facts: Sequence[Any]) -> None:
        """Fold what a node has recorded."""
        instance = self.nodes[node]
        evolve, state = instance.machine.evolve, instance.state
        for fact in facts:
            evolve(state, fact)
            if type(fact) is Concluded:
                self.outcome = [fact.outcome]


def opened(run: Run, e: ev.MachineOpened) -> None:
    run.machines[e.path] = Held(e.path, e.machine, e.version, e.setup, e.nodes)


def decided(run: Run, e: ev.MachineDecided) -> None:
    held: Held | None = run.machines.get(e.path)
    if held is None:
        raise InvariantViolation(f"step {e.path!r} of run {run.id} holds no machine")
    if held.fresh is not None:
        held.fold(e.node, held.fresh)
        held.fresh = None
    else:
        held.fold(e.node, [fact_unwritten(label, values) for label, values in run.codec.unpack(e.facts)])
    if held.facts is not None:
        held.facts.append([e.node, e.facts])


def recovered(run: Run, e: ev.MachineRecovered) -> None:
    run.machines[e.path].life = e.life


def timed(run: Run, e: ev.MachineTimed) -> None:
    run.machines[e.path].timed = e.timed


def asked(run: Run, e: ev.QuestionAsked) -> None:
    held: Held = run.machines[e.path]
    owner = run.steps[e.path]
    held.asks[e.ask] = [e.node, e.who, e.key, e.question, e.agent, e.action]
    step = StepState(e.ask, owner.id, owner.scope, node_of(owner, e.agent, e.action))
    step.beside, step.of = BESIDE, e.path
    step.inputs, step.replaced = e.inputs, True
    run.steps[e.ask] = step
    if e.agent:
        _put(run, e.ask, ENTER)
    else:
        # What comes next asks a person.
        step.status = StepStatus.FAILING


def answered(run: Run, e: ev.QuestionAnswered) -> None:
    held: Held | None = run.machines.get(e.path)
    if held is not None:
        held.asks.pop(e.ask, None)
    run.agenda.pop(e.ask, None)
    run.steps.pop(e.ask, None)


def withdrawn(run: Run, step: StepState) -> None:
    """The step that stands for a question was called off."""
    del run.steps[step.path]
    held: Held | None = run.machines.get(step.of)
    if held is not None:
        held.asks.pop(step.path, None)


def drop(run: Run, path: str) -> None:
    """A step is over, and with it its machine and whatever that asks."""
    held: Held | None = run.machines.pop(path, None)
    if held is None:
        return
    for ask in held.asks:
        run.steps.pop(ask, None)
        run.agenda.pop(ask, None)
        run.open.pop(ask, None)
        run.timers.pop(ask, None)
        run.manual.pop(ask, None)


def drop_all(run: Run) -> None:
    for path in list(run.machines):
        drop(run, path)


def ended(run: Run, step: StepState) -> None:
    """The step that stands for a question is over: its machine is to be told."""
    _put(run, step.path, CLOSE)


def node_of(owner: StepState, agent: str, action: str) -> Node:
    """Return what stands for a question in place of a step of the plan."""
    said = owner.node.step
    form = Action(agent=agent, action=action)
    step = Step(
        id=said.id, form=form, timeout_ms=said.timeout_ms, policies=said.policies, outputs=((ANSWER, "$result"),),
        priority=said.priority, resources=said.resources, heartbeat_ms=said.heartbeat_ms,
    )  # fmt: skip
    return Node(step=step, id=step.id, form=form, dependents=(), outputs=[(ANSWER, "$result")])


def _put(run: Run, path: str, why: str) -> None:
    run.agenda[path] = why
    run.todo.append(path)


# --- snapshots ----------------------------------------------------------------------------------


def to_plain(run: Run) -> list[list[Any]]:
    """Return what the steps of a run hold, as plain rows."""
    rows = []
    for held in run.machines.values():
        if held.facts is not None:
            states: list[Any] = list(held.facts)
        else:
            states = [held.machine.to_plain(instance.state) for instance in held.nodes.values()]
        asks = [[path, *said] for path, said in held.asks.items()]
        rows.append(
            [
                held.path,
                held.name,
                held.version,
                held.setup,
                list(held.nodes),
                held.life,
                held.timed,
                held.outcome,
                asks,
                states,
            ]
        )
    return rows


def from_plain(run: Run, rows: list[list[Any]]) -> None:
    """Give a run the machines of a snapshot, before it is given its steps.

    Raises:
        ValueError: A machine has another version than the one that was kept; fold the events instead.
    """
    for path, name, version, setup, nodes, life, is_timed, outcome, asks, states in rows:
        held = run.machines[path] = Held(path, name, version, setup, nodes)
        if held.machine.version != version:
            raise ValueError(f"machine {name!r} is of version {held.machine.version}, and its state of {version}")
        held.life, held.timed = life, is_timed
        held.asks = {ask: said for ask, *said in asks}
        if held.facts is not None:
            for node, packed in states:
                held.fold(node, [fact_unwritten(label, values) for label, values in run.codec.unpack(packed)])
                held.facts.append([node, packed])
        else:
            made, load = unwritten(setup), held.machine.from_plain  # type: ignore[attr-defined]
            for (node, instance), state in zip(held.nodes.items(), states, strict=True):
                instance.state = load(node, made, state)
        held.outcome = outcome
