"""Who reads a run whose steps hold machines need not have run any."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunWaits
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core import machine

SPREAD = """
workflow:
  id: w
  agents: {team: {agent: "tests.team:Team", replicas: 2}}
  steps:
    - id: greet
      coordination: {pattern: master_slave, workers: team, tasks: [a, b], as: name}
      action: greet
      inputs: {name: $name}
    - {id: ask, approval: {prompt: "well?"}}
"""


def test_verify_replay_export_and_import_find_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.yaml").write_text(SPREAD)
    monkeypatch.chdir(tmp_path)
    with kos_runtime.connect(tmp_path / ".kos", host="process") as kos:
        with pytest.raises(RunWaits):
            kos.start(tmp_path / "w.yaml", name="w").result(timeout=30)
        (task,) = kos.view(kos.reading.find("w").run).waits_for_people
        try:
            for words in (["verify", "--all"], ["verify", "w"], ["replay", "w"]):
                _forget(monkeypatch)
                assert main(words) == 0, words
            kos.approve(kos.reading.find("w").run, task.path)
            kos.resume(kos.reading.find("w").run)
            kos.result(kos.reading.find("w").run, timeout=30)
            _forget(monkeypatch)
            assert main(["export", "w", "--file", "w.jsonl"]) == 0
            _forget(monkeypatch)
            assert main(["import", "w.jsonl", "--store", str(tmp_path / "other")]) == 0
        finally:
            make_installed_known.cache_clear()


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process know of no machine, as one that has just begun."""
    monkeypatch.setattr(machine, "_KNOWN", {})
    make_installed_known.cache_clear()
