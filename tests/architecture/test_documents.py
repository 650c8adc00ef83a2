"""Documents that run, and the house in order."""

import importlib
import os
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import kos_runtime
from kos_runtime.core import errors, failpoint
from kos_runtime.core.event import BY_NAME
from kos_runtime.core.schedule import state as schedule
from kos_runtime.core.workflow import events
from kos_runtime.core.workflow.evolve import HANDLERS

ROOT = Path(__file__).parents[2]
RUN = 'python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/kos run examples/research-and-summarize.yaml -p topic="fault tolerance of actors"'
TEST = "python3 -m venv .venv && .venv/bin/pip install -q '.[test]' && .venv/bin/pytest"


def test_the_readme_has_its_two_commands_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"    {RUN}\n" in readme
    assert f"    {TEST}\n" in readme
    ci = (ROOT / ".ci" / "run").read_text()
    assert "python3 -m venv .venv && .venv/bin/pip install -q '.[test]'" in ci
    assert ".venv/bin/pytest" in ci


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.name)
def test_links_of_the_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_yaml_of_the_readme_is_a_workflow() -> None:
    from kos_runtime.definition import WorkflowDocument, compile_workflow, load

    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    document = load(text, "README.md")
    assert isinstance(document, WorkflowDocument)
    compile_workflow(document)


def test_the_cluster_file_is_one_for_ray() -> None:
    import json
    from importlib.util import find_spec

    import jsonschema

    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    schema = json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((ROOT / "cluster.yaml").read_text()), schema)


def test_importing_the_package_costs_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import kos_runtime; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "['kos_runtime']"


@pytest.mark.parametrize("name", kos_runtime.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(kos_runtime, name)


_FOLDED = ("kos_runtime.core.workflow.", "kos_runtime.core.schedule.")


def test_every_event_is_named_and_can_be_folded() -> None:
    # Those of protocols are folded by their machines, and whatever imports one has them too.
    mine = [kind for kind in BY_NAME.values() if kind.cls.__module__.startswith(_FOLDED)]
    kinds = {kind.cls for kind in mine}
    assert kinds == {*HANDLERS, *schedule.HANDLERS}
    assert {kind.name for kind in mine} == {_snake(kind.__name__) for kind in kinds}
    assert events.RunCreated in kinds


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_every_failpoint_is_planted_once() -> None:
    on_ray: list[str] = []
    elsewhere: list[str] = []
    for path in (ROOT / "kos_runtime").rglob("*.py"):
        names = re.findall(r'\bhit\("([a-z.]+)"\)', path.read_text())
        if path.name == "journal.py":
            # The store of simulations comes to the same places as the one whose failpoints these are.
            assert set(names) <= set(failpoint.NAMES)
            continue
        (on_ray if path.parent.name == "actors" else elsewhere).extend(names)
    assert sorted(elsewhere) == sorted(failpoint.NAMES)
    # Beside those of the store, the runner and the host, which a process on Ray comes to as well.
    on_its_own = {"dispatch.before", "dispatch.after", "answer.before", "answer.after"}
    listed = [name for names in failpoint.ON_RAY.values() for name in names]
    assert sorted(on_ray) == sorted(set(listed) - set(failpoint.NAMES) | on_its_own | set(failpoint.ON_PEERS))
    assert len(failpoint.NAMES) >= 20
    assert len(listed) >= 40


@pytest.mark.parametrize(
    "error",
    [
        errors.Fenced(0, 1, 2), errors.AppendConflict(0, 5, 7), errors.StoreFull("x"), errors.StoreReadOnly("x"),
        errors.StoreBusy("x"), errors.StoreTooNew("x", 2, 1), errors.StoreDamaged("x", "y"), errors.AppendUnknown(0, "y"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_survive_pickling(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert str(error)[0].islower() or str(error).startswith("x")


_BARRED = re.compile(
    r"\b(import pickle|cloudpickle|import dill|import marshal|import shelve|yaml\.load\(|os\.system|shell=True|mktemp\()"
)


def test_nothing_unpickles_evaluates_or_shells_out() -> None:
    found = []
    for folder in ("kos_runtime", "agents", "coordination"):
        for path in (ROOT / folder).rglob("*.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if _BARRED.search(line) or re.search(r"(?<![.\w])(eval|exec)\(", line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_every_module_can_be_imported_alone() -> None:
    for package in ("kos_runtime.core", "kos_runtime.engine", "kos_runtime.ports", "kos_runtime.definition"):
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            importlib.import_module(found.name)
