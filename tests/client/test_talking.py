"""Agents that talk, with the settings that everybody has."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.client import RunFailed
from kos_runtime.core.workflow.messaging import MAX_DEPTH
from kos_runtime.definition import EngineSettings
from tests.oracle import check_store

FLOW = """
workflow:
  id: for_ever
  agents: {ping: {agent: "tests.client.chatter:Ping"}, pong: {agent: "tests.client.chatter:Pong"}}
  steps: [{id: begin, agent: ping, action: go, inputs: {text: hello}}]
"""


def test_agents_that_answer_each_other_for_ever_end_at_once(tmp_path: Path) -> None:
    """More of them wait for each other than there are hands, and none tries again what cannot be mended."""
    (tmp_path / "flow.yaml").write_text(FLOW)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(tmp_path / "flow.yaml")
        with pytest.raises(RunFailed, match=f"too_deep: a chain of {MAX_DEPTH} messages"):
            run.result(timeout=30)
        assert len(kos.messages(run.id)) == MAX_DEPTH
    assert check_store(tmp_path / ".kos", created=[run.id]) == []
