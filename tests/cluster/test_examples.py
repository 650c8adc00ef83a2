"""The examples of driver scripts, and the story of the README, on a real local Ray and over real documents."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.world import is_alive, kill, wait_until

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store whose owner is up and kept."""
    folder = tmp_path_factory.mktemp("story")
    kos(folder, "up")
    yield folder
    kos(folder, "down")


def kos(folder: Path, *arguments: str, timeout: float = 180.0, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "kos_runtime", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=timeout, check=False, env=environment(folder),
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def environment(folder: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("KOS_")},
        "PYTHONPATH": str(ROOT),
        "KOS_STORE": str(folder / ".kos"),
        "KOS_CORPUS": "python:apsw",
        "RAY_USAGE_STATS_ENABLED": "0",
        "CI": "true",
    }


@pytest.mark.parametrize("script", ["run_from_python.py", "run_from_asyncio.py"])
def test_the_driver_scripts_run(there: Path, script: str) -> None:
    topics = ["SQLite connection"] if script == "run_from_python.py" else []
    text = (ROOT / "examples" / script).read_text()
    if not topics:
        # The topics of the example are those of the default corpus.
        text = text.replace('("placement groups", "object spilling")', '("virtual tables", "SQLite connection")')
        text = text.replace("Path(__file__).parent", f"Path({str(ROOT / 'examples')!r})")
    path = there / script
    path.write_text(text.replace("Path(__file__).parent", f"Path({str(ROOT / 'examples')!r})"))
    done = subprocess.run(
        [sys.executable, str(path), str(there / ".kos"), *topics],
        cwd=there, capture_output=True, text=True, timeout=180, check=False, env=environment(there),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "RunCreated" in done.stdout or "sources" in done.stdout


def rows(folder: Path, *arguments: str) -> Any:
    return json.loads(kos(folder, *arguments, "-o", "json").stdout)


def test_the_story_of_the_readme(tmp_path: Path) -> None:
    """Start, kill everything, see that it is interrupted, resume, and verify."""
    flow, ledger, gate = Path(__file__).parent / "workflows" / "three.yaml", tmp_path / "ledger", tmp_path / "gate"
    run = kos(tmp_path, "run", "-d", str(flow), "-p", f"ledger={ledger}", "-p", f"gate={gate}").stdout.strip()
    wait_until(lambda: ledger.exists() and " middle " in ledger.read_text(), "the middle step began")
    pids = [int(agent["pid"]) for agent in rows(tmp_path, "agents") if agent.get("pid")]
    owner = json.loads((tmp_path / ".kos" / "owner.json").read_text())["pid"]
    assert owner in pids
    assert len(pids) >= 3, "the owner, its partition and an agent"
    for pid in {*pids, owner}:
        with contextlib.suppress(ProcessLookupError):
            kill(pid)
    wait_until(lambda: not any(map(is_alive, pids)), "all of them are gone")
    (row,) = rows(tmp_path, "ls")
    assert (row["run"], row["status"]) == (run, "interrupted")
    gate.touch()
    kos(tmp_path, "resume", run)
    history = rows(tmp_path, "events", run)
    assert sum(line["type"] == "StepCompleted" and line["data"]["path"] == "before" for line in history) == 1
    assert sum(line["type"] == "StepScheduled" and line["data"]["path"] == "before" for line in history) == 1
    assert rows(tmp_path, "get", run)["outputs"] == {"first": 1, "last": 1}
    assert kos(tmp_path, "verify", "--all").stdout.startswith("✔")
    kos(tmp_path, "down")
