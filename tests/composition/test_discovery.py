import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kos_runtime.composition.discovery import GROUP, Registry, load_class, make_agent
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.plan.link import AgentLink
from tests.composition import crew


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


REGISTRY_POINTS = [
    point("kSearcher", f"{crew.HERE}:Searcher"),
    point("Writer", f"{crew.HERE}:Writer"),
    point("broken", "tests.composition.nowhere:Gone"),
]


def test_our_own_agents_are_registered_and_found_without_being_imported() -> None:
    registry = Registry()
    assert {"kPlanner", "kExecutor", "kReviewer", "kCoordinator"} <= set(registry.names())
    assert registry.target("kPlanner") == "agents.planner:kPlanner"


def test_finding_a_registered_agent_imports_no_other() -> None:
    registry = Registry([point("here", f"{crew.HERE}:Searcher"), point("there", "antigravity_of_ours:There")])
    assert registry.load("here") is crew.Searcher
    assert "antigravity_of_ours" not in sys.modules


def test_an_alias_leads_to_its_agent_even_beside_a_broken_one() -> None:
    registry = Registry(REGISTRY_POINTS)
    assert registry.load("finder") is crew.Searcher
    assert registry.aliases() == {"searcher": "kSearcher", "finder": "kSearcher"}


@pytest.mark.parametrize(("name", "near"), [("kSercher", "kSearcher"), ("fnder", "finder"), ("writer", "Writer")])
def test_an_unknown_agent_is_told_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"no agent {name!r} here; did you mean {near!r}") as caught:
        Registry(REGISTRY_POINTS).target(name)
    assert "module:Class" in str(caught.value)
    assert "tests.composition.nowhere:Gone cannot be imported" in str(caught.value)


def test_nothing_near_lists_what_there_is() -> None:
    with pytest.raises(InvalidDefinition, match="there are Writer, broken, kSearcher"):
        Registry(REGISTRY_POINTS).target("llm_service")
    with pytest.raises(InvalidDefinition, match="there are none"):
        Registry([]).target("x")


def test_a_class_of_ones_own_is_named_by_module_and_class() -> None:
    assert Registry([]).load(f"{crew.HERE}:Writer") is crew.Writer


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nonsense", "names no agent; write module:Class"),
        (":X", "names no agent"),
        ("a:", "names no agent"),
        ("a b:X", "names no agent"),
        ("os:system('x')", "names no agent"),
        ("tests.composition.nowhere:X", "cannot be imported: ModuleNotFoundError"),
        (f"{crew.HERE}:Writr", "has no class 'Writr'; did you mean 'Writer'"),
        ("os:getcwd", "os:getcwd is no agent: it does not derive"),
        (f"{crew.HERE}:Findings", "is no agent"),
    ],
)
def test_a_target_that_is_no_agent_says_why(target: str, words: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        load_class(target)
    assert words in str(caught.value)


def test_a_broken_package_is_named_by_its_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sour_agent.py").write_text("raise SystemExit('no licence')\n")
    info = tmp_path / "sour-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sour\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nkSour = sour_agent:kSour\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidDefinition) as caught:
        Registry().load("kSour")
    message = str(caught.value)
    assert "the agent sour_agent:kSour cannot be imported: SystemExit: no licence" in message
    assert "registered as an agent by sour 1.2" in message


def test_two_packages_may_not_register_one_name_for_two_things() -> None:
    registry = Registry([point("a", "x:A"), point("a", "y:A"), point("b", "x:B"), point("b", "x:B [extra]")])
    with pytest.raises(InvalidDefinition, match=r"registered more than once, .*; write x:A or y:A"):
        registry.target("a")
    assert registry.target("b") == "x:B"


def test_an_agent_is_made_as_it_was_linked() -> None:
    link = AgentLink(kind="kSearcher", target=f"{crew.HERE}:Searcher", pool="p", settings={"corpus": "x"})
    made = make_agent(link)
    assert type(made) is crew.Searcher
    assert made.settings == {"corpus": "x"}
    with pytest.raises(InvalidDefinition, match="cannot be imported"):
        make_agent(AgentLink(kind="k", target="gone_module:K", pool="p"))
