"""The table by which escalations are answered: data that a person can replace.

Rules are tried in order; the first whose conditions all hold answers. What no rule speaks of goes to a person.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest

Answer = Literal["retry", "reassign", "replace_inputs", "fallback", "skip", "fail", "manual"]
Left = Literal["retry", "different_agent", "fallback", "escalate", "compensate", "manual", "skip", "fail"]

#: A table may have so many rules.
MAX_RULES: Final = 200


class When(BaseModel):
    """Conditions of a rule; those that are given must all hold, and none given always holds.

    ``kinds``: the failure is of one of these. ``recoverable``: it says so of itself. ``attempts_*``: how many attempts
    were made. ``escalations_*``: the how-many-th time the step is escalated, from 1. ``cost_*``: milliseconds that its
    attempts have taken. ``left``: everything named is still to be tried; ``not_left``: nothing named is. ``steps`` and
    ``agents``: patterns such as ``gather*``, one of which fits. ``message``: text that the failure's message holds.
    """

    model_config = ConfigDict(extra="forbid")

    kinds: list[ErrorType] | None = None
    recoverable: bool | None = None
    attempts_below: int | None = Field(default=None, ge=1)
    attempts_at_least: int | None = Field(default=None, ge=1)
    escalations_below: int | None = Field(default=None, ge=1)
    escalations_at_least: int | None = Field(default=None, ge=1)
    cost_below: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    cost_at_least: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    left: list[Left] | None = None
    not_left: list[Left] | None = None
    steps: list[str] | None = None
    agents: list[str] | None = None
    message: str | None = Field(default=None, min_length=1)


class Rule(BaseModel):
    """One line of the table. ``reason`` is said with the answer; without it the rule's conditions are."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    when: When = When()
    answer: Answer
    #: What an answer brings with it: to whom (reassign; empty for whom there is), with what (replace_inputs), by what.
    agent: str = Field(default="", max_length=200)
    inputs: dict[str, Any] | None = None
    fallback: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=1_000)


#: The rule that speaks when no other does.
OTHERWISE: Final = Rule(name="otherwise", answer="manual", reason="no rule speaks of this failure, so a person decides")

#: The table that comes with the runtime. Attempts and cost keep a failure that comes back from going round for ever.
DEFAULT_RULES: Final = (
    Rule(
        name="security-needs-a-person",
        when=When(kinds=[ErrorType.SECURITY]),
        answer="manual",
        reason="a violation of security is looked at by a person before anything goes on",
    ),
    Rule(
        name="too-costly",
        when=When(cost_at_least=600_000),
        answer="manual",
        reason="the step has worked for ten minutes or more and failed; a person decides whether it is worth more",
    ),
    Rule(
        name="try-again",
        when=When(recoverable=True, attempts_below=4),
        answer="retry",
        reason="the failure may pass, and fewer than four attempts were made",
    ),
    Rule(
        name="wrong-inputs",
        when=When(kinds=[ErrorType.VALIDATION], recoverable=False),
        answer="fail",
        reason="the same inputs would be refused again",
    ),
    Rule(
        name="ask-a-person",
        when=When(left=["manual"]),
        answer="manual",
        reason="trying again does not help, and a person may know the result",
    ),
    Rule(name="nothing-left", answer="fail", reason="there is nothing left to try"),
)


def read_rules(given: Any) -> tuple[Rule, ...]:
    """Return a table from settings.

    Raises:
        ValueError: It is no table; every mistake is named with its rule and the nearest right word.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or len(given) > MAX_RULES:
        raise ValueError(f"rules must be a list of at most {MAX_RULES} rules, each with name, when and answer")
    found: list[Rule] = []
    problems: list[str] = []
    for number, item in enumerate(given, 1):
        try:
            rule = Rule.model_validate(item)
        except ValidationError as error:
            problems += [_problem(number, item, dict(one)) for one in error.errors(include_url=False)]
            continue
        if any(rule.name == other.name for other in found):
            problems.append(f"rule {number} has the name {rule.name!r} of an earlier one")
        found.append(rule)
    if problems:
        raise ValueError("; ".join(problems[:10]))
    return tuple(found)


def _problem(number: int, item: Any, error: Mapping[str, Any]) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    rule = f"rule {number}" + (f" ({name})" if isinstance(name, str) else "")
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        wrong = str(error["loc"][-1])
        known = When.model_fields if len(error["loc"]) > 1 else Rule.model_fields
        near = nearest(wrong, tuple(known))
        return f"{rule}: there is no {place!r}; " + (
            f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
        )
    return f"{rule}: {place or 'it'}: {str(error['msg']).lower()}, got {error.get('input')!r:.60}"


def first_match(rules: Sequence[Rule], escalation: Mapping[str, Any]) -> Rule:
    """Return the first rule whose conditions hold for an escalation; ``OTHERWISE`` when none does."""
    return next((rule for rule in rules if holds(rule.when, escalation)), OTHERWISE)


def holds(when: When, escalation: Mapping[str, Any]) -> bool:
    """Whether all conditions hold. What an escalation does not say counts as nothing: no attempts, no cost."""
    failure = escalation.get("failure")
    failure = failure if isinstance(failure, Mapping) else {}
    left = escalation.get("left")
    left = left if isinstance(left, Sequence) else ()
    return (
        (when.kinds is None or failure.get("type", "unknown") in when.kinds)
        and (when.recoverable is None or bool(failure.get("recoverable", True)) == when.recoverable)
        and _within(escalation.get("attempts"), when.attempts_at_least, when.attempts_below)
        and _within(escalation.get("escalations"), when.escalations_at_least, when.escalations_below)
        and _within(escalation.get("cost"), when.cost_at_least, when.cost_below)
        and (when.left is None or all(name in left for name in when.left))
        and (when.not_left is None or not any(name in left for name in when.not_left))
        and _fits(escalation.get("step"), when.steps)
        and _fits(escalation.get("agent"), when.agents)
        and (when.message is None or when.message.casefold() in str(failure.get("message", "")).casefold())
    )


def _within(value: Any, at_least: float | None, below: float | None) -> bool:
    number = value if isinstance(value, int | float) else 0
    return (at_least is None or number >= at_least) and (below is None or number < below)


def _fits(value: Any, patterns: Sequence[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(str(value or ""), pattern) for pattern in patterns)
