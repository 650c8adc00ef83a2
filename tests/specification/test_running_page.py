"""The examples of ``docs/running.md`` run as they stand; and every public method has a running example on some page."""

import inspect
import re
from pathlib import Path

import pytest

from kos_runtime.client import CheckpointManager, RecoveryStrategy, RunHandle, WorkflowEngine, WorkflowStateManager

DOCS = Path(__file__).parents[2] / "docs"
#: The pages whose Python some test runs.
RUN = ("running", "agents", "authority", "changing", "composition", "failure", "history", "services")
#: What the engine's own parts ask of each other.
INNER = {"ask_owner", "create_compiled", "family"}
#: What the coordination classes ask of whatever runs their protocols.
INNER |= {"command", "coordinator", "open", "until"}


def python_of(page: str) -> str:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_the_python_of_the_page_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = python_of("running")
    exec(compile(code, "docs/running.md", "exec"), {"__name__": "page"})
    said = capsys.readouterr().out.splitlines()
    promised = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(said) == len(promised)
    for line, words in zip(said, promised, strict=True):
        if not words.startswith(("the processes", "what its agents")):
            assert line == words.partition(":")[0] or line == words, (line, words)


@pytest.mark.parametrize("face", [WorkflowEngine, RunHandle, WorkflowStateManager, CheckpointManager, RecoveryStrategy])
def test_every_public_method_has_a_running_example(face: type) -> None:
    code = "\n".join(map(python_of, RUN))
    for name, member in inspect.getmembers(face):
        if name.startswith("_") or name in INNER or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        assert re.search(rf"\.{name}\b", code), f"{face.__name__}.{name}"
