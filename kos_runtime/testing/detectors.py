"""Deterministic checks of how agents worked together, over a run's events: no model judges anything.

A finding is no violation: the engine did what it was told. It says where the workflow, or who works in it, is probably not
what was meant, with the places in the log as evidence. After MAST's failure modes (Cemri et al., "Why Do Multi-Agent LLM
Systems Fail?", 2025), as far as what they speak of runs.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.core.plan.link import Link
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
}


@dataclass(frozen=True, slots=True)
class Finding:
    """``seqs`` are the positions in the run that show it."""

    run: str
    kind: str
    text: str
    seqs: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.run}: {self.kind}: {self.text} (seq {', '.join(map(str, self.seqs[:8]))})"


def find(run: str, lines: Sequence[Line], link: Link | None = None) -> list[Finding]:
    """Return what is found in a run's events; ``link`` tells which agent a process is of."""
    del link
    return [
        *_repeated(run, lines),
        *_ping_pong(run, lines),
        *_escalations(run, lines),
        *_approvals(run, lines),
        *_signals(run, lines),
        *_discarded(run, lines),
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
