"""What is recorded of a hierarchy: what was granted, done, taken back, handed on, and who was asked for more."""

from typing import Any, Literal

from kos_runtime.core.event import event, upcaster


@event("authority_granted")
class Granted:
    id: str
    parent: str
    issuer: str
    subject: str
    actions: list[str]
    scope: str
    #: Cost, count, fan-out.
    limits: list[int | None]
    not_before: int
    expires_at: int
    depth: int
    at: int


@event("authority_revoked")
class Revoked:
    grant: str
    by: str


@event("authority_used", 2)
class Acted:
    """Something was done under a grant. ``chain`` is that grant and all above it, up to the root.

    ``of`` is the piece of work; ``again``: it was done before under this grant, and does not count once more.
    """

    agent: str
    action: str
    target: str
    cost: int
    grant: str
    at: int
    chain: list[str]
    of: str = ""
    again: bool = False


@upcaster("authority_used", 1)
def _of_nothing(values: list[Any]) -> list[Any]:
    return [*values, [], "", False]


@event("task_delegated")
class Delegated:
    task: str
    by: str
    to: str
    level: int
    grant: str


@event("authority_escalated", 2)
class Escalated:
    """A request stands with somebody; ``due`` is when it goes on, 0 with the person, who has time."""

    request: str
    #: Agent, action, target, cost.
    use: list[Any]
    reason: str
    to: str
    due: int
    expires_ms: int
    depth: int = 0


@upcaster("authority_escalated", 1)
def _without_depth(values: list[Any]) -> list[Any]:
    return [*values, 0]


@event("escalation_passed")
class Passed:
    request: str
    by: str
    why: Literal["silent", "passed", "no_authority"]


@event("escalation_ended")
class EscalationEnded:
    request: str
    by: str
    verdict: Literal["grant", "deny", "withdrawn"]
    grant: str
    comment: str
