"""Votes in simulated worlds: the machine's own invariants are asked of what the log says, and see what must not be."""

from typing import Any

import pytest

from coordination import ballot_box, voting
from coordination.invariants.ballots import INVARIANTS
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.composition.wiring import INNER_CODEC
from kos_runtime.core.machine import Commanded, Run, Step, Trace, violations
from kos_runtime.core.workflow import events as ev
from kos_runtime.testing.coordination_oracle import check_coordination

QUESTION = {
    "subject": "v", "options": ["yes", "no"], "electors": {"a": 1, "b": 1, "c": 1}, "rule": "majority", "threshold": "",
    "participation": "", "on_deadlock": "",
}  # fmt: skip


def history(*given: Any, outcome: str, accepted: bool) -> list[Any]:
    make_installed_known()
    box: Run[Any] = Run(ballot_box.BallotBox(), "ballots", QUESTION)
    events: list[Any] = [ev.ConsensusProposed("v", QUESTION)]
    votes: list[list[Any]] = []
    for number, choice in enumerate(given):
        elector = "abc"[number]
        votes.append([elector, [choice]])
        events.append(ev.StepCompleted(f"v[{number}]", 1, INNER_CODEC.pack({"result": choice}), [], 1.0))
        made = box.take(Commanded({"elector": elector, "given": choice}), 0)
        if len(made.facts) > 1:
            found = made.facts[-1].outcome
    events.append(ev.ConsensusReached("v", outcome, accepted, votes, [], found["certificate"]["hash"], b"", []))
    return events


def timed(events: list[Any]) -> list[tuple[int, Any]]:
    return list(enumerate(events, 1))


def test_a_vote_is_counted_again() -> None:
    assert check_coordination("r", timed(history("yes", "yes", outcome="yes", accepted=True)), INNER_CODEC) == []
    wrong = check_coordination("r", timed(history("yes", "yes", outcome="no", accepted=True)), INNER_CODEC)
    assert len(wrong) == 1
    assert wrong[0].startswith("C2")


def test_a_vote_is_put_and_decided_once() -> None:
    events = history("yes", "yes", outcome="yes", accepted=True)
    assert check_coordination("r", timed([*events, events[-1]]), INNER_CODEC)[0].startswith(
        "C2: run r decided v, which was never"
    )
    assert check_coordination("r", timed([events[0], *events]), INNER_CODEC)[0].startswith("C3")


@pytest.mark.parametrize("rule", voting.RULES)
def test_the_rules_by_their_own_words_agree_with_those_that_count(rule: voting.Rule) -> None:
    ways = [None, "yes", "no", ["no", "yes"]] if rule in {"approval", "schulze"} else [None, "yes", "no"]
    for threshold in ("", "2/3") if rule in {"weighted", "supermajority", "approval"} else ("",):
        if rule == "supermajority" and not threshold:
            continue
        question = {
            **QUESTION,
            "rule": rule,
            "threshold": threshold,
            "participation": "1/2",
            "electors": {"a": 2, "b": 1, "c": 1},
        }
        for one in ways:
            for other in ways:
                for third in ways:
                    assert violations(_trace(question, one, other, third), INVARIANTS) == []


def _trace(question: dict[str, Any], *given: Any) -> Trace:
    box: Run[Any] = Run(ballot_box.BallotBox(), "ballots", question)
    steps = []
    for elector, choice in zip("abc", given, strict=True):
        if not box.state.concluded:
            command = Commanded({"elector": elector, "given": choice})
            steps.append(Step(0, "ballots", 1, command, box.take(command, 0)))
    return Trace(question, steps)


def test_the_invariants_see_a_count_that_ends_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ballot_box, "is_settled", lambda *_: True)
    assert violations(_trace(QUESTION, "yes", "no", "no"), INVARIANTS)[0].startswith("B4")


def test_the_invariants_see_a_rule_that_is_misread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voting, "_is_enough", lambda *_: True)
    found = violations(_trace({**QUESTION, "rule": "unanimous"}, "yes", "yes", "no"), INVARIANTS)
    assert found[0].startswith("B3")


def test_the_invariants_see_whoever_votes_twice() -> None:
    trace = _trace(QUESTION, "yes", "no", "no")
    assert violations(replace_steps(trace, [*trace.steps[:1], *trace.steps]), INVARIANTS)[0].startswith("B1")


def replace_steps(trace: Trace, steps: list[Step]) -> Trace:
    return trace._replace(steps=steps)
