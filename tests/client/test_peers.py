"""A vote of peers on a real store: what of it is shown, verified, exported and purged."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.definition import EngineSettings

VOTE = """
workflow:
  id: vote
  outputs: [{name: outcome, type: string, value: $steps.verdict.outcome}]
  agents: {panel: {agent: "tests.team:Team", replicas: 3}}
  steps:
    - id: verdict
      coordination: {pattern: peer_to_peer, peers: panel, consensus: {rule: majority}}
      action: vote
      inputs: {who: $peer}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("vote")
    (folder / "vote.yaml").write_text(VOTE)
    with kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(folder / "vote.yaml")
        assert run.result(timeout=30) == {"outcome": "yes"}
    return folder / ".kos", run.id


def test_the_store_verifies_with_the_streams_of_its_peers(
    store: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = store
    assert main(["verify", "--all", "--store", str(folder)]) == 0, capsys.readouterr()
    assert main(["verify", run, "--store", str(folder)]) == 0, capsys.readouterr()
