"""A store with a completed run, a failed one and one that waits, and nobody who owns it."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.client import RunFailed, RunWaits
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import ASK, FAIL, GREET

FAN = """
workflow:
  id: fan
  outputs: [{name: texts, type: array}]
  steps:
    - id: each
      for_each: {in: [anna, bert, carl]}
      agent: "tests.team:Team"
      action: greet
      inputs: {name: $item}
      outputs: {texts: text}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a completed run, a failed one and one that waits."""
    folder = tmp_path_factory.mktemp("cli")
    for name, text in (("greet", GREET), ("ask", ASK), ("fail", FAIL), ("fan", FAN)):
        (folder / f"{name}.yaml").write_text(text)
    with kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.start(folder / "fan.yaml", name="wide").result(timeout=20)
        kos.start(folder / "greet.yaml", name="good", who="you").result(timeout=20)
        with pytest.raises(RunFailed):
            kos.start(folder / "fail.yaml", name="bad").result(timeout=20)
        with pytest.raises(RunWaits):
            kos.start(folder / "ask.yaml", name="open").result(timeout=20)
    return folder


@pytest.fixture
def there(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world)
    for name in ("KOS_STORE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return world
