"""A tree of agents: delegation with the authority that it needs, and escalation where there is none."""

from typing import Any, NamedTuple

from coordination.authority import Authorities, Authority
from coordination.authority_commands import (
    Act,
    Answer,
    Check,
    Delegate,
    DelegationResult,
    Escalate,
    Issue,
    Revoke,
)
from coordination.authority_facts import EscalationEnded
from coordination.grant import Grant, Use
from coordination.levels import Hierarchy
from kos_runtime.core.machine import Coordinator, Refused

_NODE = "authority"


class NotAllowed(PermissionError):
    """Something was asked that is not granted. Nothing was recorded."""


class AuthorityGrant(NamedTuple):
    """What came of asking for authority: under which grant, from whom; or who refused, and why."""

    granted: bool
    grant: str
    by: str
    comment: str


class HierarchicalCoordination:
    """Levels, grants, delegation, escalation. The engine holds the stream; all IO is its own.

    Args:
        engine: What runs the machine.
        hierarchy: Who is above whom.
        name: What the stream is called; the same name goes on with the grants that there are.
        answer_ms: How long each level has to answer an escalation.
    """

    def __init__(
        self, engine: Coordinator, hierarchy: Hierarchy, *, name: str = "hierarchy", answer_ms: int = 60_000
    ) -> None:
        self.hierarchy = hierarchy
        self._engine, self._stream = engine, f"coordination/{name}"
        self._setup = Authority(hierarchy, answer_ms)
        self._count = 0

    async def _say(self, command: Any) -> Any:
        await self._engine.open(self._stream, Authorities(), self._setup, [_NODE])
        return await self._engine.command(self._stream, _NODE, command)

    async def _insist(self, command: Any) -> Any:
        reply = await self._say(command)
        if isinstance(reply, Refused):
            raise NotAllowed(reply.message)
        return reply

    async def grant(self, grant: Grant) -> str:
        """Give a grant and return its id.

        Raises:
            NotAllowed: It is wider than what it is cut from, or not the issuer's to give.
        """
        return str(await self._insist(Issue(grant)))

    async def revoke(self, grant: str, by: str) -> None:
        """Take a grant back, and with it all that was cut from it.

        Raises:
            NotAllowed: It is not there, or was not given by who takes it back.
        """
        await self._insist(Revoke(grant, by))

    async def delegate_up(self, task: str, level: int, *, by: str, use: Use | None = None) -> DelegationResult:
        """Hand a task to whoever stands above at a level."""
        result = await self._say(Delegate(task, by, "up", level, use))
        assert isinstance(result, DelegationResult)
        return result

    async def delegate_down(
        self, task: str, level: int, *, by: str, use: Use | None = None, expires_ms: int = 3_600_000
    ) -> DelegationResult:
        """Hand a task to somebody below, with a grant for just that, where ``use`` says what it needs."""
        result = await self._say(Delegate(task, by, "down", level, use, expires_ms))
        assert isinstance(result, DelegationResult)
        return result

    async def check_authority(self, agent_id: str, action: str, target: str = "", cost: int = 0) -> bool:
        """Say whether an agent may do something now. What it then does is checked again, by ``act``."""
        return isinstance(await self._say(Check(Use(agent_id, action, target, cost))), str)

    async def act(self, agent_id: str, action: str, target: str = "", cost: int = 0) -> str:
        """Record that an agent does something, and return the grant under which.

        Raises:
            NotAllowed: None of its grants allows that now.
        """
        return str(await self._insist(Act(Use(agent_id, action, target, cost))))

    async def escalate_authority(
        self, request: Use, reason: str = "", *, expires_ms: int = 3_600_000
    ) -> AuthorityGrant:
        """Ask those above for authority, level by level, and wait for an answer; the last is a person.

        Raises:
            NotAllowed: Who asks is not in the hierarchy, or too many escalations are open.
        """
        self._count += 1
        name = f"{request.agent}/{request.action}/{self._count}"
        await self._insist(Escalate(name, request, reason, expires_ms))
        ended = await self._engine.until(
            self._stream, lambda fact: isinstance(fact, EscalationEnded) and fact.request == name
        )
        return AuthorityGrant(ended.verdict == "grant", ended.grant, ended.by, ended.comment)

    async def answer(self, request: str, by: str, verdict: Any, comment: str = "") -> None:
        """Answer an escalation that stands with somebody.

        Raises:
            NotAllowed: It stands with somebody else by now, or was answered.
        """
        await self._insist(Answer(request, by, verdict, comment))
