"""The engine's configuration: the mission's keys, the agents' settings, people, and the bounds of this engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.instant import format_duration, parse_duration
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Backoff
from kos_runtime.definition.positions import Source
from kos_runtime.definition.problems import DefinitionError, Path
from kos_runtime.definition.services import SERVICES
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
    {
        "engine": ENGINE,
        "agents": MapOf(MapOf(Anything(), names=False)),
        "services": SERVICES,
        "people": MapOf(ListOf(Text(), single=True)),
        "tokens": MapOf(Text()),
    },
)


#: Every key of ``engine`` → the field that it sets, and what it decides, in a few words.
KEYS: Final[dict[str, tuple[str, str]]] = {
    "engine.max_concurrent_workflows": ("max_concurrent_workflows", "runs with something to do at the same time"),
    "engine.max_workflow_duration": ("max_workflow_duration_ms", "how long a run may take"),
    "engine.checkpoint_interval": ("checkpoint_interval_ms", "how often a run is checkpointed"),
    "engine.execution.timeout_default": ("timeout_default_ms", "the timeout of a step that names none"),
    "engine.execution.retry_default": ("retry_default", "retries of a step that no rule is for"),
    "engine.execution.backoff_strategy": ("backoff", "how the pauses between retries grow"),
    "engine.monitoring.metrics_collection": ("metrics_collection", "whether metrics are collected"),
    "engine.monitoring.audit_logging": ("audit_logging", "whether audit sinks are written"),
    "engine.monitoring.performance_tracking": ("performance_tracking", "whether durations are collected"),
    "engine.storage.state_backend": ("state_backend", "where the log is"),
    "engine.storage.checkpoint_backend": ("checkpoint_backend", "where checkpoints are"),
    "engine.storage.audit_backend": ("audit_backend", "where the audit trail is"),
    "engine.limits.max_pending_workflows": ("max_pending_workflows", "runs that may wait for a place"),
    "engine.limits.processes_per_agent": ("processes_per_agent", "the most processes of an agent's pool"),
    "engine.limits.hands_per_process": ("hands_per_process", "actions that one process runs at once"),
    "engine.ray.address": ("ray_address", "the cluster to use; none is a local one"),
    "engine.ray.namespace": ("ray_namespace", "the namespace of the actors"),
    "engine.ray.dashboard": ("ray_dashboard", "whether a local Ray has its dashboard"),
    "engine.ray.num_cpus": ("ray_num_cpus", "CPUs of a local Ray; 0 is all of the machine"),
}
#: What a setting comes from that nobody set.
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Times in milliseconds. ``agents`` are each agent's own settings, by kind; ``sources`` says what came from where, by its
    name in a file.
    """

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
    #: As they are configured, by name.
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, list[str]] = field(default_factory=dict)
    #: Person → SHA-256 of that person's token, in hexadecimal. None: nobody has to prove who they are.
    tokens: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], source: str, *, where: Callable[[Path], str] | None = None
    ) -> "EngineSettings":
        """Make settings of a checked engine file; what it does not say keeps its default."""
        return cls().merged(document, source, where=where)

    def merged(
        self, document: Mapping[str, Any], source: str, *, where: Callable[[Path], str] | None = None
    ) -> "EngineSettings":
        """Return these settings with those of a checked document over them.

        ``source`` is where they come from; ``where`` says it of each key, if that is known better.
        """
        changes: dict[str, Any] = {}
        sources = dict(self.sources)

        def said(path: Path) -> None:
            sources[".".join(map(str, path))] = source if where is None else where(path)

        for name, (field_name, _) in KEYS.items():
            path = tuple(name.split("."))
            value = _at(document, path)
            if value is None:
                continue
            if field_name == "backoff":
                changes[field_name] = replace(self.backoff, strategy=value)
            else:
                changes[field_name] = parse_duration(value) if field_name.endswith("_ms") else value
            said(path)
        agents = {kind: dict(settings) for kind, settings in self.agents.items()}
        for kind, given in (document.get("agents") or {}).items():
            agents.setdefault(kind, {}).update(given)
            for key in given:
                said(("agents", kind, key))
        services = {name: dict(given) for name, given in self.services.items()}
        for name, given in (document.get("services") or {}).items():
            services[name] = _over(services.get(name, {}), given)
            for key in given:
                said(("services", name, key))
        for person in document.get("people") or {}:
            said(("people", person))
        for person in document.get("tokens") or {}:
            said(("tokens", person))
        people = {**self.people, **(document.get("people") or {})}
        tokens = {**self.tokens, **(document.get("tokens") or {})}
        return replace(self, **changes, agents=agents, services=services, people=people, tokens=tokens, sources=sources)

    def listed(self) -> list[tuple[str, Any, str]]:
        """Return every setting as a file would write it: its name, its value, and where that comes from."""
        found: list[tuple[str, Any]] = []
        for name, (field_name, _) in KEYS.items():
            value = getattr(self, field_name)
            if field_name == "backoff":
                value = value.strategy
            elif field_name.endswith("_ms"):
                value = format_duration(value)
            found.append((name, value))
        found += [
            (f"agents.{kind}.{key}", value) for kind, given in self.agents.items() for key, value in given.items()
        ]
        found += [
            (f"services.{name}.{key}", value) for name, given in self.services.items() for key, value in given.items()
        ]
        found += [(f"people.{person}", roles) for person, roles in self.people.items()]
        found += [(f"tokens.{person}", digest) for person, digest in self.tokens.items()]
        return [(name, value, self.sources.get(name, DEFAULT)) for name, value in found]

    def handed_over(self) -> dict[str, Any]:
        """Return what the store's owner is told of these settings: all but what is in a run's plan already."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"backoff", "sources"}}

    def with_overrides(self, overrides: Mapping[str, str], source: str = "--set") -> "EngineSettings":
        """Return these settings with ``a.b.c=value`` texts over them, each read as YAML and checked.

        Raises:
            InvalidDefinition: A name is unknown or a value does not fit.
        """
        settings = self
        for name, text in overrides.items():
            parts = name.split(".")
            if parts[0] not in FILE.keys:
                near = nearest(parts[0], tuple(FILE.keys))
                hint = f"; did you mean {near!r}?" if near else "; it begins with engine, agents, services or people"
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


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return one service's settings with others over them, objects key by key."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _over(below[key], value) if both else value
    return merged


def _at(document: Mapping[str, Any], path: Path) -> Any:
    """Return what a checked document says at a path, or None."""
    value: Any = document
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _value(text: str, where: str) -> Any:
    """Read the text of one setting as a file's value is read."""
    try:
        return read(f"value: {text}", where).data["value"]
    except DefinitionError as error:
        problem = error.problems[0]
        hint = f"; {problem.hint}" if problem.hint else ""
        raise InvalidDefinition(f"{where}={text:.80}: {problem.message}{hint}") from error
