"""Row 8, the keys of a loop in a ``for_each`` in a decision.

It catches: a key that leaves out the turn or the item; a key that changes from one attempt to the next; an idempotency key
that two steps share.
"""

from kos_runtime.core.identity import idempotency_key
from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

STEPS = """
- id: fork
  decision: {condition: "true", true_path: [each], false_path: []}
- id: each
  for_each:
    in: [a, b]
    as: letter
    steps:
      - id: again
        loop:
          max_iterations: 2
          body:
            - {id: say, agent: crew, action: note, inputs: {value: "${{ $letter }}${{ $loop.index }}"}}
            - id: both
              parallel_group:
                steps: [{id: one, agent: crew, action: note, inputs: {value: $self.path}}]
      - {id: told, agent: crew, action: note, inputs: {value: $self.idempotency_key}}
      - {id: parts, for_each: {in: [1, 2]}, agent: crew, action: note, inputs: {value: $item}}
- {id: last, agent: crew, action: HOW, inputs: {value: $steps.each.items}, outputs: {value: value, key: key}}
"""
EXPECTED = [
    *(f"each[{i}]/again#{t}/{id}" for i in range(2) for t in range(2) for id in ("say", "both/one")),
    *(f"each[{i}]/{id}" for i in range(2) for id in ("told", "parts[0]", "parts[1]")),
    "last",
]


def test_each_step_has_the_key_of_its_place(host: Host) -> None:
    run = host.start(workflow(STEPS.replace("HOW", "note")))
    ended = host.finish(run)
    assert ended.status == "completed"
    assert sorted(host.executed(run)) == sorted(EXPECTED)
    scheduled = [event.path for event in host.events(run) if isinstance(event, ev.StepScheduled)]
    assert sorted(scheduled) == sorted(EXPECTED)
    turns = {event.path for event in host.events(run) if isinstance(event, ev.TurnStarted)}
    assert turns == {"each[0]/again", "each[1]/again"}
    first, second = ended.outputs["value"]
    assert [turn["say"]["value"] for turn in first["again"]["iterations"]] == ["a0", "a1"]
    assert [turn["say"]["value"] for turn in second["again"]["iterations"]] == ["b0", "b1"]
    assert second["again"]["iterations"][1]["both"]["one"]["value"] == "each[1]/again#1/both/one"
    keys = [item["told"]["value"] for item in (first, second)]
    assert len(set(keys)) == 2
    assert [item["told"]["key"] for item in (first, second)] == keys, "what a step reads of itself is what it carries"
    carried = [key for item in (first, second) for key in item["parts"]["key"]]
    assert len(set(carried)) == 4
    store = keys[0].split(":")[1]
    assert keys == [idempotency_key(store, run, f"each[{i}]/told", 0) for i in range(2)]
    assert host.violations(run) == []


def test_keys_stay_the_same_over_a_crash(host: Host) -> None:
    run = host.start(workflow(STEPS.replace("HOW", "hold")))
    host.until(run, "last")
    host.crash(run)
    host.open_gate()
    ended = host.finish(run)
    assert ended.status == "completed"
    key = ended.outputs["key"]
    assert key == idempotency_key(key.split(":")[1], run, "last", 0), "the second dispatch carries the key of the first"
    executed = host.executed(run)
    assert sorted(executed) == sorted([*EXPECTED, "last"]), "only what was at work is done again, under its key"
    fences = [event.fence for event in host.events(run) if isinstance(event, ev.StepScheduled) and event.path == "last"]
    attempts = {event.attempt for event in host.events(run) if isinstance(event, ev.StepScheduled)}
    assert (fences, attempts) == ([1, 2], {1})
    assert host.violations(run) == []
