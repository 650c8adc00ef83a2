"""Agents and workflows for the tests of finding and linking."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from kos_runtime.core.plan.model import Plan
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.ports.agent import Agent, Context, action

HERE = "tests.composition.crew"


class Findings(BaseModel):
    data: list[str]
    score: float = 0.0
    note: str | None = None


class Ruling(TypedDict):
    answer: str
    reason: NotRequired[str]


@dataclass
class Point:
    x: int
    tags: tuple[str, ...]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Searcher(Agent):
    kind = "kSearcher"
    aliases = ("searcher", "finder")
    asked: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def link_settings(cls, settings: Mapping[str, Any], cache_dir: str) -> dict[str, Any]:
        cls.asked.append(dict(settings))
        if settings.get("corpus") == "gone":
            raise ValueError("the corpus gone is not here; name another")
        if settings.get("corpus") == "broken":
            raise OSError("no such device")
        if settings.get("corpus") == "odd":
            return {"corpus": object()}
        return {"corpus": "default", **settings, "digest": "d1"}

    @action(over="plan", idempotent=True)
    def search(self, context: Context, plan: list[str], depth: str = "deep", limit: int = 5) -> Findings:
        return Findings(data=plan)

    @action(over="plan")
    def untyped(self, plan: list[str]) -> dict[str, Any]:
        return {"plan": plan}

    @action(over="plan", gather="list", isolated=True)
    def listed(self, plan: list[str]) -> dict[str, Any]:
        return {"plan": plan}

    @action
    def anything(self, **values: Any) -> dict[str, Any]:
        return values


class Writer(Agent):
    shares_settings_of = "kSearcher"
    link_settings = Searcher.link_settings

    @action
    def write(self, data: list[str], title: str = "") -> Point:
        return Point(1, ())

    @action
    def plan(self, topic: str) -> Ruling:
        return {"answer": topic}


class Boss(Agent):
    @action
    def on_escalation(self, escalation: dict[str, Any]) -> Ruling:
        return {"answer": "retry"}


class Mute(Agent):
    @action
    def other(self) -> None: ...


class Types(Agent):
    @action
    def many(  # type: ignore[no-untyped-def]
        self,
        text: str,
        number: float,
        whole: int,
        flag: bool,
        array: list[int],
        pair: tuple[int, str],
        mapping: dict[str, int],
        model: Findings,
        typed: Ruling,
        point: Point,
        colour: Colour,
        word: Literal["a", "b"],
        mixed: Literal["a", 1],
        union: int | str,
        noted: Annotated[int, Field(ge=0)],
        free: Any,
        bare,
        maybe: str | None = None,
    ) -> None: ...


class WrongOver(Agent):
    @action(over="plans")
    def search(self, plan: list[str]) -> Findings:
        return Findings(data=plan)


class WrongOverType(Agent):
    @action(over="plan")
    def search(self, plan: str) -> Findings:
        return Findings(data=[plan])


def plan_of(steps: str, more: str = "", inputs: str = "[{name: topic, type: string, required: true}]") -> Plan:
    """Compile a workflow with these steps, one YAML flow mapping a line."""
    lines = "".join(f"    - {line.strip()}\n" for line in steps.strip().splitlines())
    text = f"workflow:\n  id: w\n  inputs: {inputs}\n{more}  steps:\n{lines}"
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document, settings=EngineSettings())
    return plan
