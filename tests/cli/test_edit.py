"""``kos edit`` and ``kos step``: what is printed, what is refused with which code, what ``get`` and ``graph`` show then."""

import io
import json
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.cli.completing import candidates
from kos_runtime.client import RunWaits
from kos_runtime.definition import EngineSettings
from tests.client.test_changing import LINE

Output = pytest.CaptureFixture[str]
NEW = '{id: new, agent: "tests.team:Team", action: greet, inputs: {name: new}}'


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a run that waits for a person behind its first step, and nobody who owns it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line.yaml").write_text(LINE)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(tmp_path / "line.yaml", name="open")
        with pytest.raises(RunWaits):
            run.result(timeout=20)
    return tmp_path


def test_a_run_is_edited_and_get_events_and_graph_tell(there: Path, capsys: Output) -> None:
    assert main(["edit", "open", "add-step", NEW, "--after", "b", "--reason", "a second look"]) == 0
    said = capsys.readouterr().out
    assert "PlanRevised by user:" in said
    assert said.rstrip().endswith('"a second look"')
    assert main(["edit", "open", "modify-step", "b", "{timeout: 5m, inputs: {name: c}}", "-o", "json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (list(line), line["type"]) == (["run", "seq", "type", "by"], "PlanRevised")
    assert main(["edit", "open", "remove", "again", "--revision", "2"]) == 0
    capsys.readouterr()
    assert main(["get", "open"]) == 0
    shown = capsys.readouterr().out
    assert "revision 1  add_step new by user:" in shown
    assert "a second look" in shown
    assert "revision 2  modify_step b (inputs, timeout) by" in shown
    assert "○ new" in shown
    assert "again" not in shown.replace("remove_step again", "")
    assert main(["get", "open", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["revision"], [c["step"] for c in told["changes"]]) == (3, ["new", "b", "again"])
    assert main(["graph", "open"]) == 0
    drawn = capsys.readouterr().out
    assert "new  tests.team:Team.greet  ← b" in drawn
    assert "again" not in drawn
    assert main(["events", "open", "--type", "PlanRevised"]) == 0
    assert "revision 1: add_step new  by user:" in capsys.readouterr().out
    assert main(["verify", "--all"]) == 0


def test_a_step_is_read_from_a_file_and_from_standard_input(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "step.yaml").write_text(f"- {NEW}\n")
    assert main(["edit", "open", "add-step", "step.yaml"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("timeout: 7s\n"))
    assert main(["edit", "open", "modify-step", "new", "-"]) == 0
    capsys.readouterr()
    assert main(["edit", "open", "add-step", "stepp.yaml"]) == 4
    assert "did you mean step.yaml?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["edit", "open", "ad-step", NEW], 2, "did you mean add-step?"),
        (["edit", "open", "modify-step", "b"], 2, "kos edit RUN modify-step STEP CHANGES"),
        (["edit", "open", "remove-step", "b", "x"], 2, "kos edit RUN remove-step STEP"),
        (["edit", "nope", "remove-step", "b"], 4, "no run 'nope'"),
        (["edit", "open", "remove-step", "a"], 3, "no step 'a' can be seen from here"),
        (
            ["edit", "open", "remove-step", "ask"],
            3,
            "step ask cannot be removed: it has begun (it is waiting for a person)",
        ),
        (["edit", "open", "remove-step", "aa"], 4, "did you mean 'a'?"),
        (["edit", "open", "modify-step", "ask", "{timeout: 5s}"], 3, "apply: next_attempt"),
        (["edit", "open", "modify-step", "b", "{depends_on: [again]}"], 3, "these steps wait for each other"),
        (["edit", "open", "modify-step", "b", "{timeot: 5s}"], 3, "did you mean 'timeout'?"),
        (["edit", "open", "add-step", "{id: x, agent: kExecutor, actoin: search}"], 3, "did you mean 'action'?"),
        (["edit", "open", "remove-step", "b", "--revision", "7"], 3, "at revision 0, not 7"),
        (["step", "nope", "b"], 4, "no run 'nope'"),
        (["step", "open", "spare", "-p", "name"], 2, "see: kos step --help"),
    ],
)
def test_what_cannot_be_edited_is_refused(
    there: Path, capsys: Output, arguments: list[str], code: int, text: str
) -> None:
    assert main(arguments) == code
    assert text in capsys.readouterr().err


def test_a_step_is_started_by_hand(there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kos_runtime.cli.common.Common.engine",
        lambda self: kos_runtime.connect(self.store, host="process", settings=EngineSettings()),
    )
    assert main(["step", "open", "spare", "-p", "name=42", "--reason", "to see"]) == 0
    said = capsys.readouterr().out
    assert "StepRequested by user:" in said
    assert said.rstrip().endswith('"to see"')
    assert main(["step", "open", "b", "-p", "name=x"]) == 3
    assert "step b is not ready: it waits for ask" in capsys.readouterr().err
    assert main(["step", "open", "spar"]) == 4
    assert "did you mean 'spare'?" in capsys.readouterr().err
    assert main(["events", "open", "--type", "Step*", "--step", "spare", "-o", "jsonl"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0]["data"]["inputs"] == {"name": "42"}, "a text is taken as it is typed"


def test_a_shell_is_offered_changes_and_steps(there: Path) -> None:
    assert [word for word, _ in candidates(["edit", "open", ""])] == ["add-step", "remove-step", "modify-step"]
    assert "a" in [word for word, _ in candidates(["step", "open", ""])]
