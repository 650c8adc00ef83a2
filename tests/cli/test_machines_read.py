"""A run whose steps hold machines is read by a process that has nothing of them yet."""

import subprocess
import sys
from pathlib import Path

import kos_runtime
from kos_runtime.definition import EngineSettings

ROOT = Path(__file__).parents[2]
TEXT = """
workflow:
  id: shared
  inputs: [{name: names, type: array}]
  agents: {team: {agent: "tests.team:Team", replicas: 2}}
  steps:
    - {id: gather, coordination: {pattern: master_slave, workers: team, tasks: $inputs.names, lease: 30s}, action: greet, inputs: {name: $item}}
    - {id: ask, approval: {prompt: "really?", timeout: 1h}}
"""
READ = """
import sys
from kos_runtime.cli import main

sys.exit(max(main([*command.split(), "--store", sys.argv[1]]) for command in (
    "verify --all", "verify @latest", "replay @latest --check", "replay @latest --at 2", "diff @latest@2 @latest", "export @latest --file /dev/null",
)))
"""


def test_it_is_verified_folded_compared_and_exported(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(TEXT)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(tmp_path / "shared.yaml", inputs={"names": ["a", "b", "c"]})
        while kos.reading.find(run.id).status != "waiting":
            pass
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / ".kos")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UnknownMachine" not in done.stderr
