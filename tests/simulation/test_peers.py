"""Votes of peers in worlds that go wrong: their own records contradict nothing, and every run comes to its end."""

import json
from pathlib import Path

import pytest

from kos_runtime.cli import main

VOTE = """
workflow:
  id: vote
  outputs: [{name: outcome, value: $steps.verdict.outcome}]
  agents: {panel: {agent: "kos_runtime.testing.crew:SimulatedCrew", replicas: 5}}
  steps:
    - id: verdict
      coordination: {pattern: peer_to_peer, peers: panel, consensus: {rule: majority, rounds: 2, deadline: 30s}}
      action: vote
      inputs: {who: $peer}
"""


@pytest.mark.parametrize(
    "faults",
    [(), ("loss", "duplicate", "reorder", "delay"), ("agent_crash", "blackout"), ("zombie", "power", "ambiguous")],
    ids="+".join,
)
def test_peers_contradict_nothing(
    faults: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vote.yaml").write_text(VOTE)
    named = [word for fault in faults for word in ("--fault", fault)]
    code = main(["simulate", "vote.yaml", "--seed", "3", "--runs", "6", "-o", "json", *named])
    told = json.loads(capsys.readouterr().out)
    assert code == 0, told
