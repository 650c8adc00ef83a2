"""What is said to look odd, and only that: each detector over events that show it, and over ones that do not."""

from typing import Any

from coordination.assignment import assignment
from kos_runtime.composition.wiring import CODEC
from kos_runtime.core.terms import written
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import WorkflowDocument, load
from kos_runtime.simulator.faults import Faults
from kos_runtime.testing.detectors import PING_PONG, find
from kos_runtime.testing.oracle import Line
from kos_runtime.testing.simulation import prepare, simulate


def kinds(*events: Any) -> list[str]:
    return [found.kind for found in find("r", [Line(seq, seq, seq, event) for seq, event in enumerate(events, 1)])]


def sent(number: int, sender: str = "k", to: str = "ear", *, ask: bool = True) -> ev.MessageSent:
    return ev.MessageSent(number, f"r/s/1/{number}", "s", 1, 1, sender, to, "on_message", "talk", "", "", ask, b"\x80")


def test_a_question_whose_handler_failed_is_unanswered() -> None:
    assert kinds(sent(1), ev.MessageHandled(1, "ear@1", "failed")) == ["unanswered message"]
    assert kinds(sent(1), ev.MessageHandled(1, "ear@1", "completed")) == []
    assert kinds(sent(1), ev.MessageWithdrawn(1, "")) == []
    assert kinds(sent(1, ask=False), ev.MessageHandled(1, "ear@1", "failed")) == []


def test_two_agents_that_go_on_and_on_play_ping_pong() -> None:
    turns = [sent(n, *(("a", "b") if n % 2 else ("b", "a")), ask=False) for n in range(1, PING_PONG + 1)]
    assert kinds(*turns) == ["ping-pong"]
    assert kinds(*turns[:-1]) == []
    assert kinds(*(sent(n, "a", "b", ask=False) for n in range(1, 2 * PING_PONG))) == []


def reached(outcome: str, *, accepted: bool) -> ev.ConsensusReached:
    return ev.ConsensusReached("vote", outcome, accepted, [["a", ["yes"]], ["b", []]], ["c: it failed"], "", b"", [])


def test_a_vote_without_a_winner_is_told_with_who_voted_for_what() -> None:
    assert kinds(reached("yes", accepted=True)) == []
    assert kinds(reached("no_quorum", accepted=False)) == ["no quorum"]
    assert kinds(reached("tie", accepted=False)) == ["split decision"]
    (found,) = find("r", [Line(7, 7, 7, reached("tie", accepted=False))])
    assert str(found) == "r: split decision: vote came to tie (a: yes, b: abstains; c: it failed) (seq 7, 7)"


def test_authority_that_was_exceeded_is_told_once() -> None:
    error = {"type": "security", "message": "act: k holds no grant", "details": {"authority": ["work"]}}
    failed = ev.StepFailed("act", 1, 1, error, "default", "fail", 0, 0.0)
    assert kinds(failed, ev.StepGaveUp("act", error, "default")) == ["authority exceeded"]
    other = {**error, "details": {}}
    assert kinds(ev.StepGaveUp("act", other, "default")) == []


def test_a_result_that_nothing_reads_is_told() -> None:
    text = """
workflow:
  id: w
  outputs: [{name: text, value: $steps.last.v}]
  agents: {k: {agent: "kos_runtime.testing.crew:SimulatedCrew"}}
  steps:
    - {id: read, agent: k, action: add, inputs: {a: 1, b: 2}, outputs: {v: v}}
    - {id: unread, agent: k, action: add, inputs: {a: 1, b: 2}, outputs: {v: v}}
    - {id: plain, agent: k, action: add, inputs: {a: 1, b: 2}}
    - {id: last, agent: k, action: add, inputs: {a: $steps.read.v, b: 2}, outputs: {v: v}}
"""
    document = load(text.encode(), "w.yaml")
    assert isinstance(document, WorkflowDocument)
    result = simulate(prepare(document), 1, Faults(), lines=True)
    assert [(found.kind, found.text) for found in result.findings] == [
        ("result ignored", "nothing reads what unread gives")
    ]


def test_a_worker_that_is_idle_while_tasks_wait_is_told() -> None:
    opened = ev.MachineOpened(
        "gather", "assignment", 1, written(assignment(("0", "1", "2"), ("w1", "w2"))), ["master", "w1", "w2"]
    )

    def decided(*facts: list[Any]) -> ev.MachineDecided:
        return ev.MachineDecided("gather", "master", CODEC.pack(list(facts)))

    def told(second: int) -> list[str]:
        events = [
            (0, opened),
            (0, decided(["task_leased.1", [0, "w1", 1, 1, 0]])),
            (second, decided(["task_done.1", [0, 1, None, second]], ["task_leased.1", [1, "w1", 1, 2, second]])),
        ]
        return [
            str(found) for found in find("r", [Line(seq, seq, at, event) for seq, (at, event) in enumerate(events, 1)])
        ]

    assert told(40_000) == ["r: idle worker: w2 of gather had nothing to do for 40 s while 1 tasks waited (seq 2, 3)"]
    assert told(10_000) == []
