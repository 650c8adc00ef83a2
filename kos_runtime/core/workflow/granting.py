"""What is decided of authority: whether an attempt may start, and who is asked where it may not.

Each decision is put to the machine at the log's time, and what the machine says is recorded before anything follows.
"""

from collections.abc import Sequence
from typing import Any, Final

from kos_runtime.core.event import describe
from kos_runtime.core.expression import evaluate_template
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.machine import Commanded, Consult, Fired, Refused, Transition
from kos_runtime.core.plan.model import Authority
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.authority import ANYBODY, DUE, of
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.state import Run, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import View

#: A grant of a run without an end of its own: the run's end ends it.
NEVER: Final = 253_402_300_799_000
#: What is granted on request is good for so long.
ASKED_MS: Final = 3_600_000
#: The detail of a failure that says what was missing, [agent, grant, scope, cost].
MISSING: Final = "authority"


def ask_machine(desk: Desk, stimulus: Any) -> Transition:
    """Return what the machine makes of the state as it is now; nothing of it is recorded yet."""
    instance = of(desk.run).instance
    return instance.machine.decide(instance.state, stimulus, desk.now)


def command(desk: Desk, path: str, asked: dict[str, Any], by: str = "", right: str = "") -> Transition:
    """Put a command to the machine, and record what it decides."""
    made = ask_machine(desk, Commanded(asked))
    record(desk, path, made.facts, by, right)
    return made


def record(desk: Desk, path: str, facts: Sequence[Any], by: str = "", right: str = "") -> None:
    if facts:
        desk.emit(ev.AuthorityRecorded(path, by, right, _plain(facts)))


def _plain(facts: Sequence[Any]) -> list[list[Any]]:
    labels, values = describe(facts)
    return [[label, list(given)] for label, given in zip(labels.split(" "), values, strict=True)]


# --- where it comes from ------------------------------------------------------------------------


def begin(desk: Desk, plan: Authority) -> None:
    """Let a run begin with what its workflow grants."""
    desk.emit(ev.AuthorityOpened(setup_of(plan)))
    for grant in grants_of(plan, desk.now):
        reply = command(desk, "", {"do": "issue", "grant": grant}, "definition").reply
        # Whoever linked the run has asked the same machine.
        assert not isinstance(reply, Refused), reply.message


def setup_of(plan: Authority) -> dict[str, Any]:
    """Return what the machine is set up with."""
    person = plan.person or ANYBODY
    superiors = {agent: superior or person for agent, superior in plan.superiors.items()}
    return {"person": person, "superiors": superiors, "answer_ms": plan.answer_ms}


def grants_of(plan: Authority, now: int) -> list[dict[str, Any]]:
    """Return what a run that begins now begins with, each behind the one that it is cut from."""
    subjects = {root.id: root.subject for root in plan.roots}
    return [
        {
            "id": root.id,
            "parent": root.parent,
            "issuer": subjects.get(root.parent, plan.person or ANYBODY),
            "subject": root.subject,
            "actions": list(root.actions),
            "scope": root.scope,
            "cost": root.cost,
            "count": root.count,
            "fan_out": root.fan_out,
            "not_before": now,
            "expires_at": now + root.expires_ms if root.expires_ms else NEVER,
            "depth": root.depth,
        }
        for root in plan.roots
    ]


# --- whether an attempt may start ---------------------------------------------------------------


def refused(desk: Desk, owner: StepState, index: int, path: str, agent: str, grant: str) -> WorkflowError | None:
    """Record under what an attempt of a step starts now, or return why it may not.

    Raises:
        ExpressionError: Where or how much it needs cannot be told.
        NeedsData: It reads a value that is not loaded.
    """
    run = desk.run
    uses = uses_of(run, owner, index, agent)
    if run.authority is None:
        message = f"{path} needs {uses[0][1]!r} to be granted, and nothing was granted in this run"
        return failure(ErrorType.SECURITY, message, step=path)
    made = command(desk, path, {"do": "perform", "uses": uses, "of": f"{path}+{run.generation}", "grant": grant})
    if not isinstance(made.reply, Refused):
        return None
    missing = _first_missing(desk, uses)
    return failure(
        ErrorType.SECURITY, f"{path}: {made.reply.message}", step=path, authority=missing, why=_why(made.reply)
    )


def _why(refusal: Refused) -> str:
    """Return the machine's reason, without whose request it is."""
    return refusal.message.partition("': ")[2] or refusal.message


def uses_of(run: Run, owner: StepState, index: int, agent: str) -> list[list[Any]]:
    """Return what a step's attempt does with authority: [agent, grant, scope, cost] each."""
    view = View(run, owner.scope, owner, index=index)
    found = []
    for grant, scope, cost in owner.node.authority:
        where, much = evaluate_template(scope, view), evaluate_template(cost, view)
        if not isinstance(where, str) or type(much) is not int or much < 0:
            raise ValueError(
                f"authority {grant!r} is for {where!r:.80} at a cost of {much!r:.80}: a text, and an integer from 0"
            )
        found.append([agent, grant, where.strip("/"), much])
    return found


def _first_missing(desk: Desk, uses: list[list[Any]]) -> list[Any]:
    for use in uses:
        if isinstance(ask_machine(desk, Commanded({"do": "check", "use": use})).reply, Refused):
            return use
    # Each could be had alone; together they are more than there is.
    return uses[-1]


# --- asking for it ------------------------------------------------------------------------------


def request(desk: Desk, path: str, use: list[Any], reason: str, depth: int = 0, expires_ms: int = ASKED_MS) -> str:
    """Ask those above an agent, on behalf of the step that then waits; return the request, nothing where that cannot be."""
    withdraw(desk, lambda ask: bool(path) and ask[1] == path, "it is asked for anew")
    name = f"{path or 'run'}!{of(desk.run).steps_up + 1}"
    asked = {"do": "escalate", "request": name, "use": use, "reason": reason[:2_000], "depth": depth}
    made = command(desk, path, {**asked, "expires_ms": expires_ms})
    if isinstance(made.reply, Refused):
        return ""
    _stand(desk, name, path, 1, made)
    return name


def _stand(desk: Desk, name: str, of_step: str, number: int, made: Transition) -> None:
    """Ask whoever a request stands with now."""
    due = next((timer.at for timer in made.timers if timer.name == name), 0)
    for consult in made.consults:
        packed = desk.run.codec.pack({"request": _question(consult)})
        desk.emit(ev.AuthorityAsked(f"{name}.{number}", of_step, name, consult.who, packed, due, number))


def _question(consult: Consult) -> dict[str, Any]:
    asked: dict[str, Any] = {**consult.question, "asked": consult.who}
    return asked


def settle(desk: Desk, step: StepState, verdict: str, comment: str, by: str = "") -> None:
    """Take what was answered under a question's step key; what cannot be granted is passed on."""
    name, (path, of_step, who, number) = _ask_at(desk.run, step.path)
    answer = {"do": "answer", "request": name, "by": who, "verdict": verdict, "comment": comment[:2_000]}
    made = ask_machine(desk, Commanded(answer))
    if isinstance(made.reply, Refused) and verdict == "grant":
        made = ask_machine(desk, Commanded({**answer, "verdict": "pass", "comment": made.reply.message}))
    if isinstance(made.reply, Refused):
        _settle_known(desk, name, path, of_step, made.reply.message)
        return
    record(desk, of_step, made.facts, by)
    _go_on(desk, name, path, of_step, number, verdict, comment, made)


def _settle_known(desk: Desk, name: str, path: str, of_step: str, why: str) -> None:
    """The machine does not wait for this answer: the time is just over, or the request was answered before."""
    answered = ask_machine(desk, Commanded({"do": "show"})).reply["answered"]
    known = next((line["verdict"] for line in answered if line["request"] == name), "")
    if known:
        desk.emit(ev.AuthorityAnswered(path, of_step, name, known, why, True))
    else:
        timed_out(desk, DUE + name)


def timed_out(desk: Desk, timer: str) -> None:
    """Somebody has not answered in time: the request goes on to who is above."""
    name = timer.removeprefix(DUE)
    ask = of(desk.run).asks.get(name)
    if ask is None:
        return
    made = ask_machine(desk, Fired(name))
    if made.ignored:
        return
    path, of_step, _, number = ask
    _stop_asking(desk, path, "silent")
    record(desk, of_step, made.facts)
    _go_on(desk, name, path, of_step, number, "silent", "", made)


def _go_on(
    desk: Desk, name: str, path: str, of_step: str, number: int, verdict: str, comment: str, made: Transition
) -> None:
    ended = not made.consults
    if ended and verdict == "pass":
        verdict = "deny"
    desk.emit(ev.AuthorityAnswered(path, of_step, name, verdict, comment, ended))
    _stand(desk, name, of_step, number + 1, made)


def _stop_asking(desk: Desk, path: str, why: str) -> None:
    step = desk.run.steps.get(path)
    if step is None or step.status is StepStatus.CANCELLED:
        return
    fence = desk.run.open.get(path)
    if fence is not None:
        desk.stops.closed.append((step.agent, path, fence))
    desk.emit(ev.StepCancelled(path, fence or 0, why))


def withdraw(desk: Desk, is_meant: Any, why: str) -> None:
    """Take back requests that nobody needs any more."""
    for name, ask in list(of(desk.run).asks.items()):
        if is_meant(ask):
            path, of_step = ask[0], ask[1]
            _stop_asking(desk, path, why)
            command(desk, of_step, {"do": "withdraw", "request": name, "why": why})
            desk.emit(ev.AuthorityAnswered(path, of_step, name, "withdrawn", why, False))


def withdraw_unneeded(desk: Desk) -> None:
    """Take back what steps had asked for that were called off."""
    steps = desk.run.steps
    withdraw(
        desk, lambda ask: ask[1] in steps and steps[ask[1]].status is StepStatus.CANCELLED, "its step was called off"
    )


def _ask_at(run: Run, path: str) -> tuple[str, list[Any]]:
    return next((name, ask) for name, ask in of(run).asks.items() if ask[0] == path)
