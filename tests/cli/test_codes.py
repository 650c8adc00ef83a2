"""Exit codes: the same kind of refusal has the same code, whichever command is refused; and none of these needs Ray."""

import sys
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed, RunWaits, retention
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import ASK, FAIL, GREET

Output = pytest.CaptureFixture[str]
SETTINGS = EngineSettings()

#: The commands that name a run, with what else they need; ``{}`` is the run.
ON_A_RUN = (
    "get {}", "events {}", "graph {}", "watch {}", "wait {}", "verify {}", "replay {}", "diff {} good", "export {}", "fork {} --at 1",
    "step {} a", "retry {}", "requeue {}", "edit {} remove-step a", "answer {} a {{}}", "approve {}", "reject {}", "signal {} go",
    "pause {}", "resume {}", "cancel {}", "authority {}", "grant {} x --to k", "revoke {} x",
)  # fmt: skip
#: What changes a run that has not ended, or that failed.
CHANGES = (
    "step {} a", "retry {}", "requeue {}", "edit {} remove-step a", "edit {} modify-step a '{{timeout: 5m}}'", "answer {} a {{}}",
    "approve {}", "reject {}", "signal {} go", "pause {}", "grant {} x --to k", "revoke {} x",
)  # fmt: skip
#: What needs the payloads of a run.
OF_PAYLOADS = ("replay {}", "diff {} good", "export {}", "fork {} --at 1", "get {} --at 1", "step {} a", "retry {}", "requeue {}",
               "edit {} remove-step a", "approve {}", "signal {} go", "answer {} a {{}}", "authority {}")  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs that completed, failed, were called off, were purged and archived, and one that waits."""
    folder = tmp_path_factory.mktemp("codes")
    for name, text in (("greet", GREET), ("ask", ASK), ("fail", FAIL)):
        (folder / f"{name}.yaml").write_text(text)
    with kos_runtime.connect(folder / ".kos", host="process", settings=SETTINGS) as kos:
        for name in ("good", "kept", "lost"):
            kos.start(folder / "greet.yaml", name=name, who="you").result(timeout=20)
        with pytest.raises(RunFailed):
            kos.start(folder / "fail.yaml", name="bad").result(timeout=20)
        for name in ("off", "open"):
            with pytest.raises(RunWaits):
                kos.start(folder / "ask.yaml", name=name).result(timeout=20)
        kos.cancel_workflow(kos.reading.find("off").run)
        lost, kept = kos.reading.find("lost").run, kos.reading.find("kept").run
    retention.purge(folder / ".kos", [lost], by="user:test", reason="asked for")
    retention.archive(folder / ".kos", [kept], by="user:test")
    return folder


@pytest.fixture
def no_owner(ended: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody owns the store, and nobody may be made to."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an owner was started, only to refuse")

    monkeypatch.chdir(ended)
    for name in ("KOS_STORE", "GITHUB_ACTIONS", "CI", "KOS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kos_runtime.client.engine.start_owner", refuse)
    return ended


def _words(command: str, run: str) -> list[str]:
    import shlex

    return shlex.split(command.format(run))


def _refused(capsys: Output, words: list[str], code: int) -> str:
    found = main(words)
    said = capsys.readouterr().err
    assert (found, said[:7]) == (code, "error: "), (words, found, said)
    assert "Traceback" not in said
    assert "a bug" not in said
    return said


@pytest.mark.parametrize("command", ON_A_RUN)
def test_a_run_that_is_not_there_is_4(no_owner: Path, capsys: Output, command: str) -> None:
    assert "nobodys-run" in _refused(capsys, _words(command, "nobodys-run"), 4)


@pytest.mark.parametrize(
    "words",
    ["get good --at 99", "replay good --at 99", "diff good@99 good", "fork good --at 99", "fork good --at 0",
     "events good --step zz", "wait good --for step=zz", "edit open remove-step zz", "edit open add-step '{{id: b, set: {{x: 1}}}}' --after zz",
     "answer open zz {{}}", "approve open zz", "import nothing.jsonl", "run nothing.yaml", "unschedule nothing"],
)  # fmt: skip
def test_a_step_an_event_and_a_file_that_are_not_there_are_4(no_owner: Path, capsys: Output, words: str) -> None:
    _refused(capsys, _words(words, ""), 4)


@pytest.mark.parametrize("run", ["good", "off"])
@pytest.mark.parametrize("command", CHANGES)
def test_a_run_that_is_over_is_3_at_once(no_owner: Path, capsys: Output, command: str, run: str) -> None:
    before = "ray" in sys.modules
    said = _refused(capsys, _words(command, run), 3)
    assert ("completed" if run == "good" else "cancelled") in said
    assert ("ray" in sys.modules) == before


@pytest.mark.parametrize("run", ["lost", "kept"])
@pytest.mark.parametrize("command", OF_PAYLOADS)
def test_payloads_that_are_gone_are_3_and_the_words_say_where_they_went(
    no_owner: Path, capsys: Output, command: str, run: str
) -> None:
    said = _refused(capsys, _words(command, run), 3)
    assert ("purged" if run == "lost" else "archived into archive/") in said


@pytest.mark.parametrize(
    "words",
    ["diff good@x good", "step open a -p x", "approve open -p x", "fork good --at 2 --set steps.a", "edit open mend a"],
)
def test_a_command_line_that_cannot_be_read_is_2(no_owner: Path, capsys: Output, words: str) -> None:
    _refused(capsys, _words(words, ""), 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n", "no file that kos export has written"),
        (b"\x00\xff\xfe" * 99, "no file that kos export has written"),
        (b"{}\n", "no file that kos export has written"),
        (b'{"kos_export": 1, "run": "x', "is cut"),
        (b'{"kos_export": 1, "run": "\xff"}\n', "no text"),
    ],
)
def test_a_file_that_is_no_export_is_3(
    no_owner: Path, tmp_path: Path, capsys: Output, content: bytes, words: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    said = _refused(capsys, ["import", str(file)], 3)
    assert words in said
    assert f"{file}:1:" in said
    assert "nothing was stored" in said


def test_what_is_left_of_a_run_is_shown_in_words(no_owner: Path, capsys: Output) -> None:
    assert main(["get", "lost"]) == 0
    said = capsys.readouterr().out
    assert "seq 0" not in said
    assert "greet" in said
    assert "purged by user:test: asked for" in said
    assert main(["get", "kept"]) == 0
    assert "archived into archive/" in capsys.readouterr().out
    assert main(["events", "lost"]) == 0
    assert "they were purged" in capsys.readouterr().err
    assert main(["ls", "-o", "json"]) == 0
    assert '"steps": null' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 25 * * *", "the hour '25' is not of 0 to 23"),
        ("0 0 31 2 *", "never due"),
        ("0 0 * * MOO", "weekday 'MOO'"),
        ("x", "five"),
    ],
)
def test_a_cron_expression_that_cannot_be_read_names_its_field(
    no_owner: Path, capsys: Output, cron: str, words: str
) -> None:
    assert words in _refused(capsys, ["schedule", "greet.yaml", "-p", "who=you", "--cron", cron], 3)


def test_many_steps_that_wait_for_one_signal_are_told_once() -> None:
    from kos_runtime.cli.reading import signals, tasks
    from kos_runtime.core.projection.steps import RunView, StepView

    view = RunView("r1")
    for index in range(40):
        path = f"each[{index}]"
        view.steps[path] = StepView(path, status="waiting", signal="go")
    (said,) = signals("r1", view)
    assert said.startswith("waits for signal go at each[0], each[1], each[2], each[3] and 36 more\n")
    for step in view.steps.values():
        step.signal, step.manual = "", {"task": "t", "prompt": "look", "fields": []}
    assert len(tasks("r1", view)) == 13
    assert "28 more" in tasks("r1", view)[-1]
