"""Deterministic checks of how agents worked together, over a run's events: no model judges anything.

A finding is no violation: the engine did what it was told. It says where the workflow, or who works in it, is probably not
what was meant, with the places in the log as evidence. After MAST's failure modes (Cemri et al., "Why Do Multi-Agent LLM
Systems Fail?", 2025), as far as what they speak of runs.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from kos_runtime.composition.wiring import CODEC
from kos_runtime.core.plan.model import Body, Plan, Step
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.terms import unwritten
from kos_runtime.core.workflow import events as ev
from kos_runtime.testing.oracle import Line

#: Two agents that take turns so often are said to play ping-pong.
PING_PONG: Final = 12
#: A step that is given the same so often in one loop is said to be repeated.
REPEATED: Final = 3
#: name → what it says.
KINDS: Final = {
    "repeated": "a step of a loop was given the same inputs again and again",
    "ping-pong": "two agents took turns for long",
    "unanswered escalation": "an escalation was answered by nobody",
    "open approval": "a run ended while somebody was asked",
    "approved unseen": "something was approved that showed nothing",
    "untaken signal": "a signal was taken by no step",
    "result discarded": "an answer came too late and was dropped",
    "unanswered message": "an agent asked another, and got no answer",
    "result ignored": "a step gave what its `outputs` name, and nothing reads it",
    "authority exceeded": "an agent wanted to do what no grant allowed it",
    "no quorum": "too few peers voted in time",
    "split decision": "peers voted, and no option won",
    "idle worker": "a worker had nothing to do while tasks of its master waited",
}
#: A worker that is idle for so long, in milliseconds, while tasks wait is told.
IDLE_MS: Final = 30_000
#: What names a step or what it exposes, in a text of a definition.
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """``seqs`` are the positions in the run that show it."""

    run: str
    kind: str
    text: str
    seqs: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.run}: {self.kind}: {self.text} (seq {', '.join(map(str, self.seqs[:8]))})"


def find(run: str, lines: Sequence[Line], plan: Plan | None = None) -> list[Finding]:
    """Return what is found in a run's events; ``plan`` tells who reads what, without it nothing is said of that."""
    return [
        *_repeated(run, lines),
        *_ping_pong(run, lines),
        *_escalations(run, lines),
        *_approvals(run, lines),
        *_signals(run, lines),
        *_discarded(run, lines),
        *_messages(run, lines),
        *_authority(run, lines),
        *_votes(run, lines),
        *_idle(run, lines),
        *(() if plan is None else _ignored(run, lines, plan)),
    ]


def assert_no_findings(findings: Sequence[Finding], *, but: Sequence[str] = ()) -> None:
    """Fail with everything that was found, except some kinds.

    Raises:
        AssertionError: Something was.
    """
    told = [str(finding) for finding in findings if finding.kind not in but]
    if told:
        raise AssertionError("\n".join(told))


def _repeated(run: str, lines: Sequence[Line]) -> list[Finding]:
    """Turns of one loop in which a step gets the same; attempts of one step key are its retries and no repetition."""
    given: dict[tuple[str, bytes], dict[str, int]] = defaultdict(dict)
    for line in lines:
        event = line.event
        if isinstance(event, ev.StepScheduled) and "#" in event.path:
            loop, _, rest = event.path.rpartition("#")
            given[f"{loop}#*/{rest.partition('/')[2]}", bytes(event.inputs_digest)].setdefault(event.path, line.seq)
    return [
        Finding(run, "repeated", f"{where} got the same inputs in {len(turns)} turns", tuple(turns.values()))
        for (where, _), turns in given.items()
        if len(turns) >= REPEATED
    ]


def _ping_pong(run: str, lines: Sequence[Line]) -> list[Finding]:
    found: list[Finding] = []
    turns: list[tuple[str, int]] = []

    def settle() -> None:
        if len(turns) >= PING_PONG:
            one, other = turns[0][0], turns[1][0]
            found.append(
                Finding(run, "ping-pong", f"{one} and {other} took {len(turns)} turns", tuple(seq for _, seq in turns))
            )

    for line in lines:
        event = line.event
        if not isinstance(event, ev.StepScheduled):
            continue
        agent = event.agent.rpartition("-")[0]
        if len(turns) >= 2 and agent != turns[-2][0]:
            settle()
            turns = turns[-1:]
        if turns and agent == turns[-1][0]:
            settle()
            turns = []
        turns.append((agent, line.seq))
    settle()
    return found


def _is_over(lines: Sequence[Line]) -> bool:
    return bool(lines) and isinstance(lines[-1].event, ev.RunCompleted | ev.RunFailed | ev.RunCancelled)


def _escalations(run: str, lines: Sequence[Line]) -> list[Finding]:
    asked: dict[tuple[str, int], tuple[str, int]] = {}
    for line in lines:
        match line.event:
            case ev.Escalated(path=path, number=number, agent=agent):
                asked[path, number] = (agent, line.seq)
            case ev.EscalationAnswered(path=path, number=number):
                asked.pop((path, number), None)
            case _:
                pass
    if not _is_over(lines):
        return []
    return [
        Finding(run, "unanswered escalation", f"{agent} was asked about {path} and did not answer", (seq,))
        for (path, _), (agent, seq) in asked.items()
    ]


def _approvals(run: str, lines: Sequence[Line]) -> list[Finding]:
    found: list[Finding] = []
    asked: dict[str, tuple[bool, int]] = {}
    for line in lines:
        event: Any = line.event
        match event:
            case ev.ApprovalRequested(path=path, shown=shown, shown_blob=blob):
                # An empty object is one byte.
                asked[path] = (blob is not None or len(shown) > 1, line.seq)
            case ev.ApprovalDecided(path=path, approved=approved):
                shown_something, seq = asked.pop(path, (True, 0))
                if approved and not shown_something:
                    found.append(
                        Finding(run, "approved unseen", f"{path} was approved and showed nothing", (seq, line.seq))
                    )
            case ev.WaitingTimedOut(path=path) | ev.StepCancelled(path=path) | ev.StepFailed(path=path):
                asked.pop(path, None)
            case _:
                pass
    if _is_over(lines):
        found += [
            Finding(run, "open approval", f"it ended while {path} waited for a decision", (seq,))
            for path, (_, seq) in asked.items()
        ]
    return found


def _signals(run: str, lines: Sequence[Line]) -> list[Finding]:
    kept: dict[int, tuple[str, int]] = {}
    for line in lines:
        match line.event:
            case ev.SignalReceived(number=number, signal=signal):
                kept[number] = (signal, line.seq)
            case ev.SignalTaken(number=number):
                kept.pop(number, None)
            case _:
                pass
    if not _is_over(lines):
        return []
    return [
        Finding(run, "untaken signal", f"no step took the signal {signal!r}", (seq,)) for signal, seq in kept.values()
    ]


def _discarded(run: str, lines: Sequence[Line]) -> list[Finding]:
    places: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        if isinstance(line.event, ev.ResultDiscarded):
            places[line.event.path].append(line.seq)
    return [
        Finding(run, "result discarded", f"{len(seqs)} answers of {path} came too late", tuple(seqs))
        for path, seqs in places.items()
    ]


def _messages(run: str, lines: Sequence[Line]) -> list[Finding]:
    """Questions that got no answer, and conversations in which two agents go on and on."""
    found: list[Finding] = []
    asked: dict[int, tuple[ev.MessageSent, int]] = {}
    talks: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for line in lines:
        match line.event:
            case ev.MessageSent(number=number, conversation=conversation, sender=sender, to=to, ask=ask) as event:
                if ask:
                    asked[number] = (event, line.seq)
                talks[conversation].append((sender, to, line.seq))
            case ev.MessageHandled(number=number, status=status) if number in asked:
                event, seq = asked.pop(number)
                if status != "completed":
                    text = f"{event.sender} asked {event.to}, whose {event.action} {status}"
                    found.append(Finding(run, "unanswered message", text, (seq, line.seq)))
            case ev.MessageWithdrawn(number=number):
                asked.pop(number, None)
            case _:
                pass
    if _is_over(lines):
        found += [
            Finding(run, "unanswered message", f"{event.sender} asked {event.to}, and the run ended", (seq,))
            for event, seq in asked.values()
        ]
    for conversation, turns in talks.items():
        pairs = {frozenset(turn[:2]) for turn in turns}
        if len(pairs) == 1 and len(turns) >= PING_PONG and len({turn[0] for turn in turns}) == 2:
            one, other = sorted(turns[0][:2])
            text = f"{one} and {other} took {len(turns)} turns in {conversation}"
            found.append(Finding(run, "ping-pong", text, tuple(seq for *_, seq in turns)))
    return found


def _authority(run: str, lines: Sequence[Line]) -> list[Finding]:
    places: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        if isinstance(line.event, ev.StepFailed | ev.StepGaveUp):
            error = line.event.error
            details = error.get("details") or {}
            if error.get("type") == "security" and ("authority" in details or "denied" in details):
                places[str(error.get("message", line.event.path))].append(line.seq)
    return [Finding(run, "authority exceeded", message, tuple(seqs)) for message, seqs in places.items()]


def _votes(run: str, lines: Sequence[Line]) -> list[Finding]:
    found = []
    begun: dict[str, int] = {}
    for line in lines:
        match line.event:
            case ev.ConsensusProposed(path=path):
                begun[path] = line.seq
            case ev.ConsensusReached(path=path, accepted=False, outcome=outcome, votes=votes, not_counted=missing):
                kind = "no quorum" if outcome == "no_quorum" else "split decision"
                said = ", ".join(f"{elector}: {'/'.join(choices) or 'abstains'}" for elector, choices in votes)
                text = (
                    f"{path} came to {outcome} ({said or 'nobody voted'}{'; ' if missing else ''}{'; '.join(missing)})"
                )
                found.append(Finding(run, kind, text, (begun.get(path, line.seq), line.seq)))
            case _:
                pass
    return found


def _idle(run: str, lines: Sequence[Line]) -> list[Finding]:
    """Workers of a master that had no lease for long while there were tasks that nobody had."""
    found: list[Finding] = []
    teams: dict[str, _Team] = {}
    for line in lines:
        match line.event:
            case ev.MachineOpened(path=path, machine="assignment", setup=setup, nodes=nodes):
                teams[path] = _Team(nodes[1:], len(unwritten(setup).tasks))
            case ev.MachineDecided(path=path, facts=packed) if path in teams:
                team = teams[path]
                for label, values in CODEC.unpack(packed):
                    team.take(label.partition(".")[0], values)
                for worker, since, seq in team.idle(line.time, line.seq):
                    text = f"{worker} of {path} had nothing to do for {(line.time - since) / 1_000:g} s while {team.waiting} tasks waited"
                    found.append(Finding(run, "idle worker", text, (seq, line.seq)))
            case _:
                pass
    return found


class _Team:
    """Who works on which tasks of one master."""

    def __init__(self, workers: Sequence[str], tasks: int) -> None:
        self.workers, self.waiting = workers, tasks
        #: epoch → (task, worker)
        self._leases: dict[int, tuple[int, str]] = {}
        self._since: dict[str, tuple[int, int]] = {}
        self._told: set[str] = set()

    def take(self, fact: str, values: Sequence[Any]) -> None:
        match fact:
            case "task_leased":
                self._leases[values[3]] = (values[0], values[1])
                self.waiting -= 1
            case "lease_lost" if self._leases.pop(values[1], None) is not None:
                self.waiting += 1
            case "task_done":
                self._leases.pop(values[1], None)
            case "task_given_up":
                self.waiting -= 1
            case _:
                pass

    def idle(self, time: int, seq: int) -> Iterator[tuple[str, int, int]]:
        """Yield who has had nothing to do for long by now, since when, each once."""
        busy = {worker for _, worker in self._leases.values()}
        for worker in self.workers:
            if worker in busy or self.waiting <= 0:
                self._since.pop(worker, None)
                continue
            since, first = self._since.setdefault(worker, (time, seq))
            if time - since >= IDLE_MS and worker not in self._told:
                self._told.add(worker)
                yield worker, since, first


def _ignored(run: str, lines: Sequence[Line], plan: Plan) -> list[Finding]:
    completed: dict[str, int] = {}
    for line in lines:
        if isinstance(line.event, ev.StepCompleted | ev.ItemsJoined | ev.ConsensusReached):
            id = re.sub(r"[\[#@].*", "", line.event.path.rpartition("/")[2])
            completed.setdefault(id, line.seq)
    names = {word for text in _texts(to_plain(replace(plan, source=None))) for word in _WORD.findall(text)}
    outputs = {spec.name for spec in plan.outputs if not spec.has_value}
    return [
        Finding(run, "result ignored", f"nothing reads what {step.id} gives", (completed[step.id],))
        for step in _declaring(plan.body)
        if step.id in completed and step.id not in names and not {name for name, _ in step.outputs or ()} & outputs
    ]


def _declaring(body: Body) -> Iterator[Step]:
    """Yield the steps that say what of their result is wanted, and give it to nobody without being named.

    The last step of a body may be what the body gives; a step without inputs is given what those before it expose.
    """
    given = {id for step in body.steps if step.inputs is None for id in step.predecessors}
    for step in body.steps:
        if step.outputs and step is not body.steps[-1] and step.id not in given:
            yield step
        inner = getattr(step.form, "body", None)
        if isinstance(inner, Body):
            yield from _declaring(inner)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in which something is read: conditions, references and templates."""
    if isinstance(value, str):
        if "$" in value:
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
