"""Answers when a failure is escalated."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel

from agents.rules import DEFAULT_RULES, Answer, Rule, first_match, read_rules
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import Agent, action


class Ruling(BaseModel):
    """What is to be done, the rule that says so, and why."""

    answer: Answer
    rule: str
    reason: str
    agent: str = ""
    inputs: dict[str, Any] | None = None
    fallback: str = ""


class kCoordinator(Agent):
    """Decides what becomes of a step that failed, by a table of rules; ``rules`` in its settings replaces the table."""

    aliases: ClassVar[tuple[str, ...]] = ("coordinator",)

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        given = self.settings.get("rules")
        self._rules: tuple[Rule, ...] = DEFAULT_RULES if given is None else read_rules(given)

    @classmethod
    def link_settings(cls, settings: Mapping[str, Any], cache_dir: str) -> dict[str, Any]:
        """Return the table that will be used, so that it is recorded.

        Raises:
            ValueError: The table has a mistake, or there is a setting other than ``rules``.
        """
        del cache_dir
        for name in settings:
            if name != "rules":
                hint = "; did you mean 'rules'?" if nearest(name, ("rules",)) else "; there is rules"
                raise ValueError(f"there is no setting {name!r}{hint}")
        given = settings.get("rules")
        rules = DEFAULT_RULES if given is None else read_rules(given)
        return {"rules": [rule.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for rule in rules]}

    @action(idempotent=True)
    def on_escalation(self, escalation: dict[str, Any]) -> Ruling:
        """Return the answer of the first rule that speaks of this failure."""
        rule = first_match(self._rules, escalation)
        return Ruling(
            answer=rule.answer,
            rule=rule.name,
            reason=rule.reason or _conditions(rule),
            agent=rule.agent,
            inputs=rule.inputs,
            fallback=rule.fallback,
        )


def _conditions(rule: Rule) -> str:
    given = rule.when.model_dump(mode="json", exclude_none=True)
    return ", ".join(f"{name} {value}" for name, value in given.items()) or "the rule has no conditions"
