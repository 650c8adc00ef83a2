"""The engine's configuration: the mission's keys, the agents' settings, people, and the bounds of this engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.instant import parse_duration
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Backoff
from kos_runtime.definition.positions import Source
from kos_runtime.definition.problems import DefinitionError
from kos_runtime.definition.shapes import Anything, Check, Flag, ListOf, MapOf, Number, Obj, OneOf, Span, Text
from kos_runtime.definition.text import read

_BACKENDS: Final = {
    "state_backend": ("sqlite", "memory", "postgresql"),
    "checkpoint_backend": ("sqlite", "filesystem", "memory", "s3"),
    "audit_backend": ("sqlite", "json_lines", "memory", "elasticsearch"),
}
ENGINE: Final = Obj(
    "engine",
    {
        "max_concurrent_workflows": Number(1, 1_000_000),
        "max_workflow_duration": Span(),
        "checkpoint_interval": Span(),
        "execution": Obj(
            "execution",
            {
                "timeout_default": Span(),
                "retry_default": Number(0, 100),
                "backoff_strategy": OneOf("exponential", "linear", "fixed"),
            },
        ),
        "monitoring": Obj(
            "monitoring", {"metrics_collection": Flag(), "audit_logging": Flag(), "performance_tracking": Flag()}
        ),
        "storage": Obj("storage", {key: OneOf(*words) for key, words in _BACKENDS.items()}),
        "limits": Obj(
            "limits",
            {"max_pending_workflows": Number(0, 10_000_000), "processes_per_agent": Number(1, 1_000),
             "hands_per_process": Number(1, 1_000)},
        ),
        "ray": Obj("ray", {"address": Text(), "namespace": Text(name=True), "dashboard": Flag(), "num_cpus": Number(1, 100_000)}),
    },
)  # fmt: skip
FILE: Final = Obj(
    "engine configuration",
    {"engine": ENGINE, "agents": MapOf(MapOf(Anything(), names=False)), "people": MapOf(ListOf(Text(), single=True))},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Times in milliseconds. ``agents`` are each agent's own settings, by kind; ``sources`` says what came from where."""

    max_concurrent_workflows: int = 100
    max_workflow_duration_ms: int = 86_400_000
    checkpoint_interval_ms: int = 300_000
    timeout_default_ms: int = 1_800_000
    retry_default: int = 3
    backoff: Backoff = field(default_factory=Backoff)
    metrics_collection: bool = True
    audit_logging: bool = True
    performance_tracking: bool = True
    state_backend: str = "sqlite"
    checkpoint_backend: str = "sqlite"
    audit_backend: str = "sqlite"
    max_pending_workflows: int = 10_000
    processes_per_agent: int = 2
    hands_per_process: int = 4
    ray_address: str = ""
    #: Named actors of two stores on one cluster are kept apart by it.
    ray_namespace: str = "kos"
    ray_dashboard: bool = True
    ray_num_cpus: int = 0
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], source: str) -> "EngineSettings":
        """Make settings of a checked engine file; what it does not say keeps its default."""
        return cls().merged(document, source)

    def merged(self, document: Mapping[str, Any], source: str) -> "EngineSettings":
        """Return these settings with those of a checked document over them."""
        engine = document.get("engine") or {}
        execution, storage = engine.get("execution") or {}, engine.get("storage") or {}
        limits, ray, monitoring = engine.get("limits") or {}, engine.get("ray") or {}, engine.get("monitoring") or {}
        changes: dict[str, Any] = {}
        for name, value in (
            ("max_concurrent_workflows", engine.get("max_concurrent_workflows")),
            ("retry_default", execution.get("retry_default")),
            ("max_pending_workflows", limits.get("max_pending_workflows")),
            ("processes_per_agent", limits.get("processes_per_agent")),
            ("hands_per_process", limits.get("hands_per_process")),
            ("ray_address", ray.get("address")),
            ("ray_namespace", ray.get("namespace")),
            ("ray_dashboard", ray.get("dashboard")),
            ("ray_num_cpus", ray.get("num_cpus")),
            *((key, storage.get(key)) for key in _BACKENDS),
            *((key, monitoring.get(key)) for key in ("metrics_collection", "audit_logging", "performance_tracking")),
        ):
            if value is not None:
                changes[name] = value  # noqa: PERF403 - other changes come before and after
        for name, span in (
            ("max_workflow_duration_ms", engine.get("max_workflow_duration")),
            ("checkpoint_interval_ms", engine.get("checkpoint_interval")),
            ("timeout_default_ms", execution.get("timeout_default")),
        ):
            if span is not None:
                changes[name] = parse_duration(span)
        if "backoff_strategy" in execution:
            changes["backoff"] = replace(self.backoff, strategy=execution["backoff_strategy"])
        sources = {**self.sources, **dict.fromkeys(changes, source)}
        agents = {kind: dict(settings) for kind, settings in self.agents.items()}
        for kind, given in (document.get("agents") or {}).items():
            agents.setdefault(kind, {}).update(given)
            sources.update({f"agents.{kind}.{key}": source for key in given})
        people = {**self.people, **(document.get("people") or {})}
        return replace(self, **changes, agents=agents, people=people, sources=sources)

    def with_overrides(self, overrides: Mapping[str, str], source: str = "--set") -> "EngineSettings":
        """Return these settings with ``a.b.c=value`` texts over them, each read as YAML and checked.

        Raises:
            InvalidDefinition: A name is unknown or a value does not fit.
        """
        settings = self
        for name, text in overrides.items():
            parts = name.split(".")
            if parts[0] not in {"engine", "agents", "people"}:
                near = nearest(parts[0], ("engine", "agents", "people"))
                hint = f"; did you mean {near!r}?" if near else "; it begins with engine, agents or people"
                raise InvalidDefinition(f"{source} {name}: unknown setting {parts[0]!r}{hint}")
            document: Any = _value(text, f"{source} {name}")
            for part in reversed(parts):
                document = {part: document}
            check = Check(Source(f"{source} {name}", [f"{name}={text}"], document))
            FILE.check(document, (), check)
            if check.problems:
                problem = check.problems[0]
                hint = f"; {problem.hint}" if problem.hint else ""
                raise InvalidDefinition(f"{source} {name}={text}: {problem.message}{hint}")
            settings = settings.merged(document, source)
        return settings

    def drivers(self) -> dict[str, str]:
        return {
            "state": self.state_backend,
            "checkpoint": self.checkpoint_backend,
            "audit": self.audit_backend,
        }


def _value(text: str, where: str) -> Any:
    """Read the text of one setting as a file's value is read."""
    try:
        return read(f"value: {text}", where).data["value"]
    except DefinitionError as error:
        problem = error.problems[0]
        hint = f"; {problem.hint}" if problem.hint else ""
        raise InvalidDefinition(f"{where}={text:.80}: {problem.message}{hint}") from error
