"""The definitions that processes are killed in, and what comes of each when nothing happens."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

AGENT: Final = '"tests.proof.team:Worker"'

SPREAD: Final = f"""
workflow:
  id: spread
  inputs: [{{name: n, type: integer, default: 40}}, {{name: pad, type: string}}]
  outputs: [{{name: total, type: integer}}]
  steps:
    - {{id: planning, agent: {AGENT}, action: numbers, inputs: {{n: $inputs.n}}, outputs: {{plan: items}}}}
    - id: gathering
      agent: {AGENT}
      action: gather
      parallel: true
      inputs: {{plan: $steps.planning.plan}}
      outputs: {{raw: data, sources: sources}}
    - {{id: synthesis, agent: {AGENT}, action: count, inputs: {{data: $steps.gathering.raw, sources: $steps.gathering.sources}}, outputs: {{total: total}}}}
"""
LOOP: Final = f"""
workflow:
  id: looping
  outputs: [{{name: total, type: integer, value: $steps.turns.last.b.y}}]
  variables: {{base: 3}}
  steps:
    - id: turns
      loop:
        body:
          - {{id: a, agent: {AGENT}, action: square, inputs: {{v: "${{{{ $loop.index + $vars.base }}}}"}}, outputs: {{y: y}}}}
          - {{id: b, agent: {AGENT}, action: square, inputs: {{v: $steps.a.y}}, outputs: {{y: y}}}}
        loop_condition: $loop.index < 12
        max_iterations: 20
    - {{id: bump, set: {{base: 100}}}}
    - {{id: done, emit: {{event: done, data: {{y: $steps.turns.last.b.y}}}}}}
"""
EACH: Final = f"""
workflow:
  id: many
  outputs: [{{name: total, type: integer}}]
  steps:
    - {{id: n, agent: {AGENT}, action: numbers, inputs: {{n: 200}}, outputs: {{items: items}}}}
    - id: each
      for_each: {{in: $steps.n.items, as: v, max_concurrency: 16}}
      agent: {AGENT}
      action: square
      inputs: {{v: $v}}
      outputs: {{y: y}}
    - {{id: sum, agent: {AGENT}, action: total, inputs: {{ys: $steps.each.y}}, outputs: {{total: total}}}}
"""
RETRY: Final = f"""
workflow:
  id: retrying
  outputs: [{{name: total, type: integer}}]
  steps:
    - id: first
      agent: {AGENT}
      action: flaky
      inputs: {{v: 2, fails: 2}}
      outputs: {{y: y}}
      retry: {{max_retries: 5, backoff: {{strategy: fixed, initial: 5ms, jitter: true}}}}
    - id: pair
      parallel_group:
        steps:
          - {{id: l, agent: {AGENT}, action: flaky, inputs: {{v: 3, fails: 1}}, outputs: {{y: y}}, retry: {{max_retries: 5, backoff: {{initial: 5ms}}}}}}
          - {{id: r, agent: {AGENT}, action: square, inputs: {{v: $steps.first.y}}, outputs: {{y: y}}}}
    - id: pick
      decision: {{condition: $steps.pair.l.y > 2, true_path: [yes_], false_path: [no_]}}
    - {{id: yes_, agent: {AGENT}, action: square, inputs: {{v: $steps.pair.r.y}}, outputs: {{y: y}}}}
    - {{id: no_, agent: {AGENT}, action: square, inputs: {{v: 1}}, outputs: {{y: y}}}}
    - {{id: sum, agent: {AGENT}, action: total, inputs: {{ys: ["$steps.first.y", "$steps.pair.l.y", "$steps.yes_.y"]}}, outputs: {{total: total}}}}
"""

_TOP: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Workload:
    """A definition, what it is given, and what must come of it: None for what comes when nobody is killed."""

    text: str
    outputs: dict[str, Any] | None
    inputs: dict[str, Any] = field(default_factory=dict)
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)


# Large enough that every run has a blob of the partition's own.
_PAD: Final = {"pad": "x" * 40_000}

WORKLOADS: Final[dict[str, Workload]] = {
    "spread": Workload(SPREAD, {"total": sum(range(40)) * 1_000 + 40}, _PAD),
    "loop": Workload(LOOP, {"total": (14 * 14) ** 2}, _PAD),
    "for_each": Workload(EACH, {"total": sum(i * i for i in range(200))}, _PAD),
    "retry": Workload(RETRY, {"total": 2 + 3 + 16}, _PAD),
    # The mission's own file, as it stands, by the agents that come with the project, over its own documents.
    "mission": Workload(
        (_TOP / "examples" / "research-and-summarize.yaml").read_text(encoding="utf-8"),
        None,
        {"topic": "event log"},
        {"kExecutor": {"corpus": str(_TOP / "docs")}},
    ),
}
