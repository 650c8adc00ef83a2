"""Modules that lie beside a definition."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.composition import importing
from kos_runtime.composition.discovery import Registry, load_class
from kos_runtime.composition.linking import link
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import EngineSettings
from tests.composition.crew import plan_of

AGENT = """
from agents import Agent, action
from helpers_of_mine import WORD

class Teller(Agent):
    @action
    def tell(self) -> dict[str, str]:
        return {"word": WORD}
"""
FLOW = """
workflow:
  id: told
  outputs: [{name: word, type: string}]
  steps: [{id: tell, agent: "tellers_of_mine:Teller", action: tell}]
"""


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(importing, "_imported", {})
    yield
    for name in [name for name in sys.modules if name.endswith("_of_mine")]:
        del sys.modules[name]


def project(folder: Path, word: str) -> Path:
    folder.mkdir()
    (folder / "tellers_of_mine.py").write_text(AGENT)
    (folder / "helpers_of_mine.py").write_text(f"WORD = {word!r}\n")
    (folder / "flow.yaml").write_text(FLOW)
    return folder


def told(target: str) -> str:
    answer: dict[str, str] = load_class(target)({}).tell()  # type: ignore[attr-defined]
    return answer["word"]


def test_a_module_beside_the_definition_comes_before_one_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = project(tmp_path / "here", "here"), project(tmp_path / "there", "there")
    monkeypatch.chdir(here)
    target = Registry([], beside=there).target("tellers_of_mine:Teller")
    assert target == f"tellers_of_mine:Teller@{there}"
    assert told(target) == "there"


def test_a_module_of_the_working_directory_is_recorded_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = project(tmp_path / "here", "here")
    monkeypatch.chdir(here)
    target = Registry([], beside=tmp_path).target("tellers_of_mine:Teller")
    monkeypatch.chdir("/")
    assert told(target) == "here"


def test_two_projects_may_have_modules_of_one_name_in_one_process(tmp_path: Path) -> None:
    targets = {
        word: Registry([], beside=project(tmp_path / word, word)).target("tellers_of_mine:Teller")
        for word in ("one", "two")
    }
    first = load_class(targets["one"])
    assert told(targets["two"]) == "two"
    assert told(targets["one"]) == "one"
    assert load_class(targets["one"]) is first


def test_agents_of_one_name_from_two_folders_have_pools_of_their_own(tmp_path: Path) -> None:
    plan = plan_of('{id: a, agent: "tellers_of_mine:Teller", action: tell}')
    links = [
        link(plan, Registry([], beside=project(tmp_path / word, word)), EngineSettings(), str(tmp_path)).link
        for word in ("one", "two")
    ]
    assert len({each.agents["tellers_of_mine:Teller"].pool for each in links}) == 2


def test_what_is_in_use_under_that_name_already_is_said(tmp_path: Path) -> None:
    (tmp_path / "textwrap.py").write_text(AGENT)
    assert "textwrap" in sys.modules
    with pytest.raises(InvalidDefinition, match=r"in use already, from .*textwrap\.py"):
        load_class(Registry([], beside=tmp_path).target("textwrap:Teller"))


def test_a_folder_that_is_gone_leaves_what_python_finds_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = project(tmp_path / "old", "moved")
    target = Registry([], beside=old).target("tellers_of_mine:Teller")
    old.rename(tmp_path / "new")
    with pytest.raises(InvalidDefinition, match=f"in {old} cannot be imported: ModuleNotFoundError"):
        load_class(target)
    monkeypatch.syspath_prepend(str(tmp_path / "new"))
    assert told(target) == "moved"


def test_a_definition_cannot_name_a_folder_by_itself(tmp_path: Path) -> None:
    project(tmp_path / "x", "x")
    with pytest.raises(InvalidDefinition, match="names no agent"):
        Registry([]).load(f"tellers_of_mine:Teller@{tmp_path / 'x'}")


def test_a_run_finds_its_agents_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = project(tmp_path / "there", "beside")
    monkeypatch.chdir("/")
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        assert kos.start(there / "flow.yaml").result(timeout=20) == {"word": "beside"}


def test_without_imports_only_what_is_registered_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "tellers_of_mine.py").write_text("raise SystemExit('this must not run')\n")
    registry = Registry(beside=tmp_path, imports=False)
    assert registry.load("kPlanner").__name__ == "kPlanner"
    with pytest.raises(InvalidDefinition, match="tellers_of_mine:Teller was not imported"):
        registry.load("tellers_of_mine:Teller")
