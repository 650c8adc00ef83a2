"""What linking found out: for every agent that a plan names, who that is here and what its actions take.

A link is stored under the digest of its bytes and mentioned by ``RunLinked``. A run follows it, whatever is deployed
later.
"""

from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.plan.model import PLAIN, Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterLink:
    name: str
    required: bool = True
    #: A word of the language (string, array, …), ``any`` when it cannot be told.
    type: str = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLink:
    name: str
    type: str = "any"
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionLink:
    """One action as it was when the run was linked. ``fields`` None means that its result's keys are unknown."""

    parameters: tuple[ParameterLink, ...] = ()
    takes_any: bool = False
    over: str | None = None
    gather: str | None = None
    fields: tuple[FieldLink, ...] | None = None
    idempotent: bool = False
    isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLink:
    """An agent by the name that the definition uses: its kind, where its class is, and what it was set up with.

    ``pool`` names the pool of processes that serves it: the same for all names with one kind and one demand.
    ``most`` bounds the processes of that pool.
    """

    kind: str
    target: str
    pool: str
    least: int = 0
    most: int = 1
    resources: dict[str, float] = field(default_factory=dict, metadata=PLAIN)
    actions: dict[str, ActionLink] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)
    #: What its class calls its version: results that another one gave are not taken.
    version: str = ""
    #: How much of its pool may start; a pool is limited as a whole, so one with a limit has a name of its own.
    limit: Limit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildLink:
    """Which workflow a sub-workflow is: the version that was found, and the digests of its plan and of its own link.

    ``settings`` and ``drivers`` are what its ``RunLinked`` says beside that; ``takes`` the inputs that it declares, any
    others too with ``takes_any``.
    """

    workflow: str
    version: str
    plan: str
    link: str
    settings: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)
    drivers: dict[str, str] = field(default_factory=dict, metadata=PLAIN)
    takes: tuple[str, ...] = ()
    takes_any: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    agents: dict[str, AgentLink] = field(default_factory=dict)
    #: Sub-workflows by ``Child.key``.
    children: dict[str, ChildLink] = field(default_factory=dict)
    #: Names of drivers in use: ``{"state": "sqlite"}``.
    drivers: dict[str, str] = field(default_factory=dict, metadata=PLAIN)
