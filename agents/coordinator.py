"""Answers when a failure is escalated."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

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


class Permission(BaseModel):
    """What is said to somebody who asks for authority."""

    verdict: Literal["grant", "pass"]
    comment: str


#: Settings: the table of rules, and up to what cost it grants what is asked for.
_SETTINGS: Final = ("rules", "grants_up_to")
#: Unless its settings say otherwise.
GRANTS_UP_TO: Final = 10


class kCoordinator(Agent):
    """Decides what becomes of a step that failed, by a table of rules, and who may do what, by what it costs.

    ``rules`` in its settings replaces the table; ``grants_up_to`` says up to what cost it hands on authority that it holds.
    """

    aliases: ClassVar[tuple[str, ...]] = ("coordinator",)

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        given = self.settings.get("rules")
        self._rules: tuple[Rule, ...] = DEFAULT_RULES if given is None else read_rules(given)
        self._grants_up_to: int = self.settings.get("grants_up_to", GRANTS_UP_TO)

    @classmethod
    def link_settings(cls, settings: Mapping[str, Any], cache_dir: str) -> dict[str, Any]:
        """Return the table that will be used, so that it is recorded.

        Raises:
            ValueError: The table has a mistake, or there is a setting other than ``rules``.
        """
        del cache_dir
        for name in settings:
            if name not in _SETTINGS:
                near = nearest(name, _SETTINGS)
                hint = f"did you mean {near!r}?" if near else f"there is {' and '.join(_SETTINGS)}"
                raise ValueError(f"there is no setting {name!r}; {hint}")
        given = settings.get("rules")
        rules = DEFAULT_RULES if given is None else read_rules(given)
        told = {"rules": [rule.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for rule in rules]}
        most = settings.get("grants_up_to", GRANTS_UP_TO)
        if type(most) is not int or most < 0:
            raise ValueError(f"grants_up_to is an integer from 0 on, not {most!r:.80}")
        return told | ({"grants_up_to": most} if "grants_up_to" in settings else {})

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

    @action(idempotent=True)
    def on_authority_request(self, request: dict[str, Any]) -> Permission:
        """Hand on what is asked for if it costs little; else whoever is above decides.

        Whether it is kCoordinator's to hand on is not asked here: the run knows, and passes on what is not.
        """
        cost, asked = int(request.get("cost", 0)), f"{request.get('agent')} asks for {request.get('action')}"
        if cost <= self._grants_up_to:
            return Permission(
                verdict="grant", comment=f"{asked} at a cost of {cost}, and up to {self._grants_up_to} is granted"
            )
        return Permission(
            verdict="pass", comment=f"{asked} at a cost of {cost}, which is more than {self._grants_up_to}"
        )


def _conditions(rule: Rule) -> str:
    given = rule.when.model_dump(mode="json", exclude_none=True)
    return ", ".join(f"{name} {value}" for name, value in given.items()) or "the rule has no conditions"
