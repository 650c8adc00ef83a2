"""Agents that talk to each other in a simulated world: what is said survives whatever happens, and is handled once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import WorkflowDocument, load
from kos_runtime.simulator.faults import Faults
from kos_runtime.testing.message_oracle import check_messages
from kos_runtime.testing.simulation import prepare, simulate

CREW = "kos_runtime.testing.crew"
TEXT = f"""
workflow:
  id: talks
  agents:
    k: {{agent: "{CREW}:SimulatedCrew", replicas: 2}}
    ear: {{agent: "{CREW}:SimulatedEar", replicas: 2}}
  steps:
    - {{id: one, agent: k, action: talk, inputs: {{a: 3, b: 4}}, outputs: {{v: v}}, parallel: true}}
    - {{id: two, agent: k, action: consult, inputs: {{a: 3, b: 4}}, outputs: {{v: v}}, parallel: true}}
    - id: many
      for_each: {{in: [1, 2, 3, 4], as: n}}
      agent: k
      action: talk
      inputs: {{a: $n, b: $steps.one.v}}
      outputs: {{v: v}}
"""


@pytest.fixture(scope="module")
def definition():  # type: ignore[no-untyped-def]
    document = load(TEXT.encode(), "talks.yaml")
    assert isinstance(document, WorkflowDocument)
    return prepare(document)


@pytest.mark.parametrize(
    "fault", ["loss=0.3", "duplicate=0.5", "reorder=0.5", "delay=0.5", "crash=0.1", "zombie=0.02", "power=0.02", "all"]
)
def test_what_is_said_survives(definition, fault: str) -> None:  # type: ignore[no-untyped-def]
    kinds = [fault] if fault != "all" else ["loss", "duplicate", "crash", "agent_crash", "zombie", "raise", "partition"]
    for seed in range(6):
        result = simulate(definition, seed, Faults.parse(kinds), lines=True)
        assert result.violations == []
        lines = next(iter(result.lines.values()))
        handled = [line.event.number for line in lines if isinstance(line.event, ev.MessageHandled)]
        assert len(handled) == len(set(handled))
        if fault != "all":
            assert set(result.statuses.values()) == {"completed"}
            assert len(handled) > 6


def test_virtual_time_passes_while_agents_wait_for_each_other(definition) -> None:  # type: ignore[no-untyped-def]
    result = simulate(definition, 1, Faults.parse(["late=1", "delay=1"]))
    assert set(result.statuses.values()) <= {"completed", "failed"}
    assert result.took_ms > 100_000


def test_a_conversation_is_the_same_under_another_hash_seed(tmp_path: Path) -> None:
    (tmp_path / "talks.yaml").write_text(TEXT)
    told = {
        subprocess.run(
            [sys.executable, "-m", "kos_runtime", "simulate", "talks.yaml", "--runs", "4", "-o", "json"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("3", "4211")
    }
    assert len(told) == 1


def _sent(number: int, key: str = "") -> ev.MessageSent:
    return ev.MessageSent(number, f"r/s/1/{number}", "s", 1, 1, "k", "ear", "on_message", "s", "", key, False, b"\x80")


def _scheduled(number: int) -> ev.StepScheduled:
    return ev.StepScheduled(f"ear@{number}", 1, 1, "ear-1", 0, b"", None, None)


def test_the_oracle_sees_what_must_not_be_with_messages() -> None:
    failed = ev.StepFailed("s", 1, 1, {}, "default", "retry", 0, 0.0)
    handled = ev.MessageHandled(1, "ear@1", "completed")
    assert check_messages("r", [_sent(1), _scheduled(1), handled]) == []
    assert "which had failed" in check_messages("r", [_sent(1), failed, _scheduled(1)])[0]
    assert check_messages("r", [_sent(1, "once"), failed, _scheduled(1)]) == []
    assert "was delivered" in check_messages("r", [_sent(1), _scheduled(1), ev.MessageWithdrawn(1, "")])[0]
    assert "before 1" in check_messages("r", [_sent(1), _sent(2), _scheduled(2)])[0]
    assert "which was completed" in check_messages("r", [_sent(1), _scheduled(1), handled, handled])[0]
    assert "1001 messages in the mailbox" in check_messages("r", [_sent(n) for n in range(1, 1_002)])[0]
    assert "before it was sent" in check_messages("r", [_sent(1), _scheduled(2)])[0]
