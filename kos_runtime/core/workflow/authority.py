"""Who may do what in a run, as its events tell of it, and how each event changes that.

What is decided of authority is decided by a machine that is found by its name. Its facts are events of the run, so that
an action and what allows it are one record; its state is their fold, and is made when somebody asks for it first.
"""

from collections.abc import Sequence
from typing import Any, Final

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.event import rebuild
from kos_runtime.core.machine import Machine, machine_named
from kos_runtime.core.machine import Run as Instance
from kos_runtime.core.plan.model import Action, Approval, Field, Step
from kos_runtime.core.plan.program import Node
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.state import AGAIN, CLOSE, ENTER, Run, StepState
from kos_runtime.core.workflow.status import OVER, StepStatus

#: The machine that decides.
MACHINE: Final = "authority"
#: What stands beside a step as a question to somebody above.
BESIDE: Final = "authority"
#: The action by which an agent is asked for authority.
ASK_ACTION: Final = "on_authority_request"
#: The time that somebody has to answer stands among the run's timers under this and the request.
DUE: Final = "!authority/"
#: By what right it is recorded once more when a run is restored.
RESTORED: Final = "restored"
#: Under this a step exposes who took its task.
DELEGATION: Final = "delegation"
#: Who stands at the top where the workflow names nobody.
ANYBODY: Final = "person"


class Held:
    """The authority of a run. ``asks`` are the requests that stand with somebody: [path, of, who, number]."""

    __slots__ = ("_instance", "asks", "denied", "facts", "setup", "steps_up")

    def __init__(self, setup: dict[str, Any], facts: Sequence[list[Any]] = ()) -> None:
        self.setup = setup
        #: [label, values] of all that was decided, oldest first.
        self.facts: list[list[Any]] = list(facts)
        #: How often a request went to somebody, which makes the next one's name a new one.
        self.steps_up = _steps_up(facts)
        self.asks: dict[str, list[Any]] = {}
        #: Step → why it was not granted what it asked for.
        self.denied: dict[str, str] = {}
        self._instance: Instance[Any] | None = None

    @property
    def person(self) -> str:
        return str(self.setup["person"])

    @property
    def instance(self) -> Instance[Any]:
        """The machine with its state.

        Raises:
            UnknownMachine: It is not installed here.
        """
        if self._instance is None:
            machine: Machine[Any] = machine_named(MACHINE)
            facts = [rebuild(label, [values])[0] for label, values in self.facts]
            self._instance = Instance(machine, MACHINE, self.setup, facts)
        return self._instance

    def add(self, facts: Sequence[list[Any]]) -> None:
        self.facts += facts
        self.steps_up += _steps_up(facts)
        if self._instance is not None:
            for label, values in facts:
                self._instance.machine.evolve(self._instance.state, rebuild(label, [values])[0])


def _steps_up(facts: Sequence[list[Any]]) -> int:
    return sum(label.startswith("authority_escalated.") for label, _ in facts)


def of(run: Run) -> Held:
    """Return the authority of a run that has some."""
    if run.authority is None:
        raise InvariantViolation(f"run {run.id} has no authority")
    held: Held = run.authority
    return held


# --- folding ------------------------------------------------------------------------------------


def opened(run: Run, e: ev.AuthorityOpened) -> None:
    run.authority = Held(e.setup)


def recorded(run: Run, e: ev.AuthorityRecorded) -> None:
    of(run).add(e.facts)


def asked(run: Run, e: ev.AuthorityAsked) -> None:
    held = of(run)
    held.asks[e.request] = [e.path, e.of, e.who, e.number]
    run.steps[e.path] = _asking(run, e.path, e.of, e.who, e.question)
    _put(run, e.path, ENTER)
    if e.due:
        run.timers[DUE + e.request] = (e.due, e.number)
    waiting = run.steps.get(e.of)
    if waiting is not None and waiting.status not in OVER:
        if waiting.status is StepStatus.READY and waiting.index < 0 and not waiting.beside:
            waiting.scope.active += 1
            for name, amount in waiting.node.step.resources.items():
                waiting.scope.held[name] = waiting.scope.held.get(name, 0.0) + amount
        waiting.status = StepStatus.ESCALATED
        run.agenda.pop(e.of, None)


def answered(run: Run, e: ev.AuthorityAnswered) -> None:
    held = of(run)
    held.asks.pop(e.request, None)
    run.timers.pop(DUE + e.request, None)
    for place in (run.steps, run.agenda, run.open, run.waits, run.timers):
        place.pop(e.path, None)
    waiting = run.steps.get(e.of)
    if not e.ended or waiting is None or waiting.status is not StepStatus.ESCALATED:
        return
    waiting.status = StepStatus.FAILING
    if e.verdict == "grant":
        _put(run, e.of, AGAIN)
    else:
        held.denied[e.of] = e.comment
        _put(run, e.of, CLOSE)


def taken(run: Run, e: ev.TaskTaken) -> None:
    step = run.steps[e.path]
    step.delegation = [e.agent, e.level, e.grant, e.refused]
    if e.agent:
        step.instead = e.agent


def ended(run: Run, step: StepState) -> None:
    """Somebody who was asked has answered, or cannot: what follows is decided."""
    _put(run, step.path, CLOSE)


def _put(run: Run, path: str, why: str) -> None:
    run.agenda[path] = why
    run.todo.append(path)


def _asking(run: Run, path: str, of_step: str, who: str, question: bytes) -> StepState:
    """Return what stands for a question to somebody, in place of a step of the plan."""
    step = StepState(path, who, run.scopes[""], node_of(run, who))
    step.beside, step.of = BESIDE, of_step
    step.inputs, step.replaced = question, True
    return step


def node_of(run: Run, who: str) -> Node:
    """Return what a question to somebody has in place of a step of the plan."""
    assert run.program is not None
    plan = run.program.plan
    form: Action | Approval
    if who == of(run).person:
        comment = Field(name="comment", type="string", required=False)
        form = Approval(prompt="", approvers=() if who == ANYBODY else (who,), fields=(comment,))
    else:
        form = Action(agent=who, action=ASK_ACTION)
    rules = [policy.rule for policy in plan.policies]
    policy = rules.index("default") if "default" in rules else len(rules) - 1
    made = Step(id=who, form=form, timeout_ms=plan.timeout_default_ms, policies=(policy,), idempotent=True)
    return Node(step=made, id=who, form=form, dependents=())


def told(step: StepState) -> dict[str, Any]:
    """Return who took a step's task, as the step exposes it."""
    agent, level, grant, refused = step.delegation or ["", -1, "", ""]
    return {"task": step.path, "taken_by": agent, "level": level, "grant": grant, "refused": refused}


def with_delegation(run: Run, path: str, exposed: bytes) -> bytes:
    """Return what an attempt gave, with who took the step's task where that was handed to somebody."""
    step = run.steps.get(path)
    if step is None or step.delegation is None:
        return exposed
    names = run.codec.unpack(exposed) if exposed else {}
    return run.codec.pack({**names, DELEGATION: told(step)})


# --- snapshots ----------------------------------------------------------------------------------


def to_plain(run: Run) -> dict[str, Any] | None:
    """Return the authority of a run as plain data."""
    if run.authority is None:
        return None
    held = of(run)
    return {"setup": held.setup, "facts": held.facts, "asks": held.asks, "denied": held.denied}


def from_plain(run: Run, plain: dict[str, Any] | None) -> None:
    """Give a run the authority of a snapshot, before it is given its steps."""
    if plain is not None:
        run.authority = Held(plain["setup"], plain["facts"])
        run.authority.asks, run.authority.denied = dict(plain["asks"]), dict(plain["denied"])
