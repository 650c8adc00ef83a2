"""Search attributes: words by which runs are found, kept in the log, in the read model, and in what is exported."""

from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import CheckpointManager, RunWaits, WorkflowStateManager, retention
from kos_runtime.client.folding import folded
from kos_runtime.client.importing import import_run
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.workflow.attributes import MAX_ATTRIBUTES, MAX_VALUE
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import ASK, GREET

Output = pytest.CaptureFixture[str]


def engine(folder: Path) -> kos_runtime.WorkflowEngine:
    for name, text in (("greet", GREET), ("ask", ASK)):
        (folder / f"{name}.yaml").write_text(text)
    return kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings())


def ask(kos: Any, folder: Path, **attributes: Any) -> str:
    run = kos.start(folder / "ask.yaml", search_attributes=attributes)
    with pytest.raises(RunWaits):
        run.result(timeout=20)
    return str(run.id)


def test_a_run_is_found_by_them_in_whatever_status(tmp_path: Path) -> None:
    with engine(tmp_path) as kos:
        done = kos.start(tmp_path / "greet.yaml", who="you", search_attributes={"team": "red", "depth": 3, "hot": True})
        done.result(timeout=20)
        waits = ask(kos, tmp_path, team="red", depth=4)
        states = WorkflowStateManager(kos)

        def found(**attributes: Any) -> list[str]:
            return [state.id for state in states.get_workflows_by_attributes(attributes)]

        assert found(team="red") == [waits, done.id]
        assert found(team="red", depth=3) == found(depth="3") == found(hot=True) == [done.id]
        assert found(team="blue") == found(nothing="red") == []
        assert [s.id for s in states.get_workflows_by_attributes({"team": "red"}, status="waiting")] == [waits]
        assert kos.get_search_attributes(done) == {"depth": "3", "hot": "true", "team": "red"}


def test_they_are_set_and_taken_away_and_the_fold_says_the_same(tmp_path: Path) -> None:
    with engine(tmp_path) as kos:
        run = ask(kos, tmp_path, team="red")
        assert kos.set_search_attributes(run, {"team": "blue", "next": 0.5})["event"] == "SearchAttributesSet"
        assert not kos.set_search_attributes(run, {"team": "blue", "never": None})["event"]
        kos.set_search_attributes(run, {"next": None})
        assert kos.get_search_attributes(run) == {"team": "blue"}
        assert folded(kos.reading, run).attributes == kos.view(run).attributes == {"team": "blue"}
        assert [state.id for state in WorkflowStateManager(kos).get_workflows_by_attributes({"team": "red"})] == []


def test_a_fork_has_them_and_a_restore_takes_later_ones_back(tmp_path: Path) -> None:
    with engine(tmp_path) as kos:
        run = ask(kos, tmp_path, team="red")
        made = CheckpointManager(kos).create_checkpoint(run)
        kos.set_search_attributes(run, {"team": "blue", "late": 1})
        fork = kos.fork(run, kos.view(run).seq)
        assert kos.get_search_attributes(fork) == {"team": "blue", "late": "1"}
        kos.restore(run, made.seq)
        assert kos.get_search_attributes(run) == {"team": "red"}
        assert folded(kos.reading, run).attributes == {"team": "red"}


def test_they_travel_with_an_export_and_go_with_a_purge(tmp_path: Path, capsys: Output) -> None:
    with engine(tmp_path) as kos:
        run = kos.start(tmp_path / "greet.yaml", who="you", search_attributes={"team": "red"})
        run.result(timeout=20)
    store, file = str(tmp_path / ".kos"), str(tmp_path / "x.jsonl")
    assert main(["export", run.id, "--file", file, "--store", store]) == 0
    import_run(tmp_path / "other", file)
    assert Reading(tmp_path / "other").log.attributes(run.id) == {"team": "red"}
    retention.purge(tmp_path / ".kos", [run.id], by="user:test")
    assert Reading(store).log.attributes(run.id) == {}
    assert Reading(store).log.runs(attributes={"team": "red"}) == []


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"a b": 1}, "names no search attribute"),
        ({"": 1}, "names no search attribute"),
        ({"x" * 65: 1}, "names no search attribute"),
        ({"a": []}, "a text, a number or a boolean, not list"),
        ({"a": "x" * (MAX_VALUE + 1)}, "at most 256 characters"),
        ({"a": "x\ny"}, "printable"),
        ({f"a{n}": n for n in range(MAX_ATTRIBUTES + 1)}, "at most 32 search attributes, not 33"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_begins(tmp_path: Path, attributes: Any, words: str) -> None:
    with engine(tmp_path) as kos:
        with pytest.raises(InvalidDefinition, match=words):
            kos.start(tmp_path / "greet.yaml", who="you", search_attributes=attributes)
        assert not (tmp_path / ".kos" / "events.db").exists()


def test_a_run_has_a_bounded_number_of_them_over_its_life(tmp_path: Path) -> None:
    with engine(tmp_path) as kos:
        run = ask(kos, tmp_path, **{f"a{n}": n for n in range(MAX_ATTRIBUTES)})
        with pytest.raises(InvalidDefinition, match="at most 32 search attributes"):
            kos.set_search_attributes(run, {"more": 1})
        kos.set_search_attributes(run, {"a0": None, "more": 1})
        with pytest.raises(NotFound):
            kos.get_search_attributes("nobody")
        with pytest.raises(NotFound):
            kos.set_search_attributes("nobody", {"a": 1})
        done = kos.start(tmp_path / "greet.yaml", who="you")
        done.result(timeout=20)
        with pytest.raises(InvalidDefinition, match="is completed"):
            kos.set_search_attributes(done, {"a": 1})


def test_the_command_line_sets_and_finds_them(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with engine(tmp_path) as kos:
        run = ask(kos, tmp_path, team="red")
        other = ask(kos, tmp_path, team="blue")
    assert main(["label", run, "stage=two", "team=green"]) == 0
    assert "SearchAttributesSet" in capsys.readouterr().out
    assert main(["ls", "-l", "team=green", "-l", "stage=two", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == [run]
    assert main(["ls", "--waiting", "-l", "team=green", "-o", "json"]) == 0
    said = capsys.readouterr().out
    assert (run in said, other in said) == (True, False)
    assert main(["get", run]) == 0
    assert "labels team=green  stage=two" in capsys.readouterr().out
    assert main(["label", run, "stage="]) == 0
    capsys.readouterr()
    assert main(["ls", "-l", "stage=two", "-o", "name"]) == 0
    assert not capsys.readouterr().out
    for words in (["ls", "-l", "team"], ["label", run], ["label", run, "=x"], ["run", "ask.yaml", "-l", "x"]):
        assert main(words) == 2
    assert main(["label", "nobody", "a=b"]) == 4
