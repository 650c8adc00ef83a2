"""Workflows that are put together of others: the catalogue, what is linked, and what a person sees of it."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunWaits
from kos_runtime.composition.catalogue import Catalogue
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.definition import DefinitionError, EngineSettings

OUTER = """
workflow:
  id: outer
  inputs: [{name: who, type: string, required: true}]
  outputs: [{name: said, value: "${{ $steps.deeper.text + $steps.two.text }}"}]
  steps:
    - {id: deeper, workflow: {id: inner, version: "VERSIONS", inputs: {who: $inputs.who}}}
    - {id: two, template: {use: greeting, with: {who: $steps.deeper.text}}}
"""
INNER = """
workflow:
  id: inner
  version: VERSION
  inputs: [{name: who, type: string, required: true}]
  outputs: [{name: text, value: "${{ $steps.a.text + ' VERSION' }}"}]
  steps:
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}}
"""
TEMPLATES = """
templates:
  greeting:
    inputs: [{name: who, type: string, required: true}]
    steps:
      - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}}
"""


def folder(at: Path, versions: str = "", there: tuple[str, ...] = ("1.2", "1.10", "2.0")) -> Path:
    (at / "outer.yaml").write_text(OUTER.replace("VERSIONS", versions))
    (at / "templates.yaml").write_text(TEMPLATES)
    (at / "notes.yaml").write_text("a: [")
    for version in there:
        (at / f"inner-{version}.yaml").write_text(INNER.replace("VERSION", version))
    return at


def engine(at: Path, **more: str) -> kos_runtime.WorkflowEngine:
    return kos_runtime.connect(at / ".kos", host="process", settings=EngineSettings(), **more)


def test_a_workflow_runs_with_the_workflow_and_the_template_beside_it(tmp_path: Path) -> None:
    folder(tmp_path, ">=1.0 <2.0")
    with engine(tmp_path) as kos:
        run = kos.start(tmp_path / "outer.yaml", who="you")
        assert run.result(timeout=30) == {"said": "hello you 1.10hello hello you 1.10"}
        view = run.view()
        child = view.steps["deeper"].child
        assert kos.view(child).parent == {"run": run.id, "step": "deeper", "attempt": 1}
        assert kos.view(child).version == "1.10"
        assert view.steps["two"].form == "template"
        assert kos.reading.find("@latest").run == run.id
        assert kos.reading.find(run.id[:8]).run == run.id
        assert kos.reading.find(child).run == child


@pytest.mark.parametrize(
    ("versions", "found"),
    [("", "2.0"), ("1.2", "1.2"), (">=1.0 <2.0", "1.10"), (">=1.0, <1.10", "1.2"), ("<2", "1.10"), ("==2.0", "2.0")],
)
def test_the_newest_version_of_a_range_is_taken(tmp_path: Path, versions: str, found: str) -> None:
    assert Catalogue(folder(tmp_path)).workflow("inner", versions).content["version"] == found


@pytest.mark.parametrize(
    ("id", "versions", "said"),
    [
        ("iner", "", "no workflow 'iner' in the catalogue .*; did you mean 'inner'?.*notes.yaml was left out"),
        ("inner", ">=3", "'inner' has no version '>=3' in the catalogue .*; there is 1.10, 1.2, 2.0"),
        ("inner", "3", "has no version '3'"),
        ("inner", ">=x", "'>=x' is no range of versions; write for example"),
    ],
)
def test_what_is_not_in_the_catalogue_is_told_with_what_is(tmp_path: Path, id: str, versions: str, said: str) -> None:
    with pytest.raises(InvalidDefinition, match=said):
        Catalogue(folder(tmp_path)).workflow(id, versions)


def test_one_version_in_two_files_is_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "copy.yaml").write_text(INNER.replace("VERSION", "2.0"))
    with pytest.raises(InvalidDefinition, match=r"version 2.0 of the workflow 'inner' stands in .*copy.yaml and in"):
        Catalogue(tmp_path).workflow("inner")


def test_another_catalogue_is_named(tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    folder(away)
    (away / "outer.yaml").rename(tmp_path / "outer.yaml")
    with (
        engine(tmp_path) as kos,
        pytest.raises(
            InvalidDefinition, match=r"step deeper: no workflow 'inner' in(.|\n)*step two: no template 'greeting' in"
        ),
    ):
        kos.start(tmp_path / "outer.yaml", who="you")
    with engine(tmp_path, catalogue=str(away)) as kos:
        assert kos.start(tmp_path / "outer.yaml", who="you").result(timeout=30)["said"].startswith("hello you 2.0")
    with engine(tmp_path, catalogue=str(tmp_path / "gone")) as kos, pytest.raises(NotFound, match="is no folder"):
        kos.start(tmp_path / "outer.yaml", who="you")


def test_templates_are_given_as_plain_data_and_checked_and_a_run_of_them_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "uses.yaml").write_text(
        "workflow: {id: uses, steps: [{id: hold, approval: {prompt: go on?}}, {id: t, template: {use: asks, with: {who: you}}}]}\n"
    )
    step = {"id": "a", "agent": "tests.team:Team", "action": "greet", "inputs": {"name": "$inputs.who"}}
    asks = {"steps": [step], "error_handling": [{"step": "a", "on_failure": "fail"}]}
    with engine(tmp_path) as kos:
        with pytest.raises(DefinitionError, match="stepps"):
            kos.create_workflow(tmp_path / "uses.yaml", templates={"asks": {"stepps": []}})
        run = kos.create_workflow(tmp_path / "uses.yaml", templates={"asks": asks}, start=True)
        with pytest.raises(RunWaits):
            run.result(timeout=30)
        kos.add_step(
            run, {**step, "id": "b", "inputs": {"name": "all"}, "outputs": {"text": "text"}}, reason="one more"
        )
        kos.approve(run, "hold")
        assert run.result(timeout=30) == {"text": "hello all"}
        assert run.view().steps["t/a"].status == "completed"


def test_workflows_that_call_each_other_are_refused(tmp_path: Path) -> None:
    for id, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{id}.yaml").write_text(f"workflow: {{id: {id}, steps: [{{id: x, workflow: {{id: {other}}}}}]}}\n")
    with (
        engine(tmp_path) as kos,
        pytest.raises(InvalidDefinition, match="call each other without an end: a → b → c → a"),
    ):
        kos.start(tmp_path / "a.yaml")


def test_inputs_of_a_sub_workflow_are_checked_when_it_is_linked(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "wrong.yaml").write_text(
        "workflow: {id: wrong, steps: [{id: x, workflow: {id: inner, inputs: {whom: you}}}]}\n"
    )
    with engine(tmp_path) as kos, pytest.raises(InvalidDefinition) as error:
        kos.start(tmp_path / "wrong.yaml")
    assert "step x: inner has no input 'whom'; did you mean 'who'?" in str(error.value)
    assert "step x: inner needs the input 'who'" in str(error.value)


def test_a_file_that_is_changed_later_changes_nothing_for_a_run(tmp_path: Path) -> None:
    folder(tmp_path)
    with engine(tmp_path) as kos:
        run = kos.create_workflow(tmp_path / "outer.yaml", {"who": "you"})
        for path in tmp_path.glob("*.yaml"):
            path.unlink()
        kos.execute_workflow(run)
        assert run.result(timeout=30)["said"].startswith("hello you 2.0")


def installed(at: Path, name: str, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """Install a package that brings templates."""
    package, info = at / f"{name}_templates", at / f"{name}-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    for file, text in files.items():
        (package / f"{file}.yaml").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kos_runtime.templates]\n{name} = {name}_templates\n")
    monkeypatch.syspath_prepend(at)


USES = "workflow: {id: uses, steps: [{id: two, template: {use: greeting, with: {who: you}}}]}\n"


def test_templates_of_an_installed_package_are_used_and_those_of_the_catalogue_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "site", "acme", monkeypatch, greetings=TEMPLATES, notes="a: [")
    (tmp_path / "uses.yaml").write_text(USES)
    with engine(tmp_path) as kos:
        run = kos.start(tmp_path / "uses.yaml")
        assert run.result(timeout=30) == {"text": "hello you"}
        (tmp_path / "own.yaml").write_text(TEMPLATES.replace("name: $inputs.who", "name: nobody"))
        assert kos.start(tmp_path / "uses.yaml").result(timeout=30) == {"text": "hello nobody"}
        (tmp_path / "uses.yaml").write_text(USES.replace("greeting", "greting"))
        with pytest.raises(
            InvalidDefinition, match=r"no template 'greting' .*did you mean 'greeting'.*notes.yaml of acme 1.0"
        ):
            kos.start(tmp_path / "uses.yaml")


def test_one_template_of_two_packages_is_refused_until_one_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        installed(tmp_path / name, name, monkeypatch, greetings=TEMPLATES)
    (tmp_path / "uses.yaml").write_text(USES)
    said = "'greeting' is brought by first 1.0 and by second 1.0"
    with engine(tmp_path) as kos, pytest.raises(InvalidDefinition, match=said):
        kos.start(tmp_path / "uses.yaml")
    assert main(["validate", str(tmp_path / "uses.yaml")]) != 0
    assert said in capsys.readouterr().err


def test_a_package_that_cannot_be_imported_is_left_out_and_told_when_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "site", "broken", monkeypatch)
    (tmp_path / "site" / "broken_templates" / "__init__.py").write_text("raise SystemExit(3)")
    (tmp_path / "uses.yaml").write_text(USES)
    with (
        engine(tmp_path) as kos,
        pytest.raises(
            InvalidDefinition, match=r"broken 1.0 was left out: broken_templates cannot be imported: SystemExit"
        ),
    ):
        kos.start(tmp_path / "uses.yaml")
