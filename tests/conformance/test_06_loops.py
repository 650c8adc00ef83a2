"""Row 6, loops: no turn, one, as many as there may be, a break; a crash inside the third turn, resumed there.

It catches: a condition that is asked after the turn instead of before it; a break that is looked at before the turn is
over; a loop whose turn is taken for over when its owner is gone.
"""

import pytest

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

STEPS = """
- id: refine
  loop:
    body:
      - {id: draft, agent: crew, action: note, inputs: {value: $loop.index}, outputs: {value: value}}
      - {id: judge, agent: crew, action: note, inputs: {value: $steps.draft.value}, outputs: {value: value}}
    MORE
    max_iterations: MOST
- {id: last, agent: crew, action: note, inputs: {value: "${{ default($steps.refine.last.judge.value, -1) }}"}, outputs: {value: value}}
"""


@pytest.mark.parametrize(
    ("more", "most", "turns", "reason"),
    [
        ("loop_condition: 'false'", 5, 0, "condition"),
        ("on_exhausted: continue", 0, 0, "exhausted"),
        ("loop_condition: $loop.index < 1", 5, 1, "condition"),
        ("on_exhausted: continue", 3, 3, "exhausted"),
        ("loop_condition: $loop.index == 0 or $loop.previous.judge.value < 1", 5, 2, "condition"),
        ("break_conditions: [{condition: $steps.judge.value == 1, reason: enough}]", 5, 2, "break: enough"),
        ("break_conditions: [$steps.judge.value == 0]", 5, 1, "break: $steps.judge.value == 0"),
    ],
    ids=["no turn", "none may be", "one", "as many as may be", "by the turn before", "break", "break after the first"],
)
def test_a_loop_takes_its_turns(host: Host, more: str, most: int, turns: int, reason: str) -> None:
    run = host.start(workflow(STEPS.replace("MORE", more).replace("MOST", str(most))))
    ended = host.finish(run)
    assert (ended.status, ended.outputs) == ("completed", {"value": turns - 1})
    assert host.executed(run) == [f"refine#{i}/{id}" for i in range(turns) for id in ("draft", "judge")] + ["last"]
    (over,) = [event for event in host.events(run) if isinstance(event, ev.LoopEnded)]
    assert (over.turns, over.reason) == (turns, reason)
    assert host.violations(run) == []


def test_a_loop_that_is_exhausted_fails_when_it_says_so(host: Host) -> None:
    run = host.start(workflow(STEPS.replace("MORE", "on_exhausted: fail").replace("MOST", "2")))
    ended = host.finish(run)
    assert (ended.status, ended.error["step"]) == ("failed", "refine")
    assert "exhausted after 2 turns" in ended.error["message"]
    assert "last" not in host.executed(run)


def test_after_a_crash_inside_the_third_turn_it_goes_on_there(host: Host) -> None:
    held = STEPS.replace("action: note, inputs: {value: $steps.draft", "action: HOW, inputs: {value: $steps.draft")
    # The action is the same in all turns; only the third is held, since the gate is closed then.
    steps = held.replace("action: HOW", "when: $loop.index == 2, action: hold").replace(
        "MORE", "on_exhausted: continue"
    )
    run = host.start(workflow(steps.replace("MOST", "4")))
    host.until(run, "refine#2/judge")
    host.crash(run)
    host.open_gate()
    assert host.finish(run).status == "completed"
    drafts = [f"refine#{i}/draft" for i in range(4)]
    assert [path for path in host.executed(run) if path.endswith("draft")] == drafts, "no draft is made twice"
    assert host.executed(run).count("refine#2/judge") == 2
    events = host.events(run)
    begun = [place for place, event in enumerate(events) if isinstance(event, ev.TurnStarted)]
    assert [events[place].turn for place in begun] == [0, 1, 2, 3], "no turn begins twice"
    over = [p for p, e in enumerate(events) if isinstance(e, ev.StepCompleted) and e.path == "refine#2/judge"]
    assert over < begun[3:], "nor before the one before it is over"
    assert host.violations(run) == []
