"""What the page about agents shows does what it says."""

import re
from pathlib import Path
from typing import Any

import yaml

from agents import Agent
from agents.coordinator import kCoordinator
from agents.rules import DEFAULT_RULES, When
from kos_runtime.composition.linking import describe_action
from tests.agents.desk import DeskContext

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_agent_of_the_page_works() -> None:
    namespace: dict[str, Any] = {"__name__": "greeting"}
    exec(compile(blocks("python")[0], "greeting.py", "exec"), namespace)
    greeter = namespace["Greeter"]
    assert issubclass(greeter, Agent)
    assert [parameter.name for parameter in describe_action(greeter, "greet").parameters] == ["names", "word"]
    assert greeter().greet(DeskContext(""), ["Ada"]) == {"lines": ["hello, Ada"]}


def test_the_table_of_the_page_is_valid() -> None:
    table = next(yaml.safe_load(block) for block in blocks("yaml") if "rules" in block)["agents"]["kCoordinator"]
    coordinator = kCoordinator(kCoordinator.link_settings(table, ""))
    about = {"step": "extra_pictures", "agent": "kReviewer", "failure": {"type": "timeout"}, "attempts": 1}
    assert coordinator.on_escalation(about).answer == "skip"
    assert coordinator.on_escalation(about | {"agent": "kExecutor"}).rule == "flaky-search"


def test_the_page_names_every_condition_and_every_rule() -> None:
    for name in (*When.model_fields, *(rule.name for rule in DEFAULT_RULES)):
        assert f"`{name}`" in PAGE, name
