"""What it takes for five peers to come to one mind: a process each, ballots of no-op agents, every promise durable."""

import os
import time
from pathlib import Path
from typing import Any, Final

from agents import Agent, action
from benchmarks.harness import Runtime, median, percentile, running

PANEL: Final = """
workflow:
  id: consensus
  outputs: [{name: outcome, type: string, value: $steps.verdict.outcome}]
  agents: {panel: {agent: "benchmarks.consensus:Elector", replicas: 5}}
  steps:
    - id: verdict
      coordination: {pattern: peer_to_peer, peers: panel, consensus: {rule: majority, agreement: paxos}}
      action: vote
      inputs: {who: $peer}
"""


class Elector(Agent):
    @action
    def vote(self, who: str) -> dict[str, str]:
        return {"vote": "yes", "reason": who}


def consensus(*, runs: int) -> dict[str, Any]:
    """Milliseconds from asking until the step with its certificate is durable, on warm processes."""
    with running(active=100) as runtime:
        for _ in range(20):
            runtime.wait(runtime.create(PANEL, {})[0])
        pids = [agent["pid"] for agent in runtime.supervisor.agents()]
        before, taken = _cpu_ms(pids), []
        for _ in range(runs):
            begun = time.perf_counter()
            runtime.wait(runtime.create(PANEL, {})[0])
            taken.append((time.perf_counter() - begun) * 1_000)
            # Who is behind hears of the end before the next begins.
            time.sleep(0.02)
        spent = (_cpu_ms(pids) - before) / runs
        processes = _processes(runtime)
    return {
        "workload": "consensus",
        "value": round(median(taken), 2),
        "unit": "ms",
        "best": round(min(taken), 2),
        "p90": round(percentile(taken, 0.9), 2),
        "p99": round(percentile(taken, 0.99), 2),
        "peers": processes,
        "cpu_ms": round(spent, 1),
        "runs": runs,
    }


def _cpu_ms(pids: list[int]) -> float:
    """Return how long the partition and the peers have computed, in milliseconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1_000 / os.sysconf("SC_CLK_TCK")


def _processes(runtime: Runtime) -> int:
    return sum(agent.get("kind") not in {"partition", "owner"} for agent in runtime.supervisor.agents())
