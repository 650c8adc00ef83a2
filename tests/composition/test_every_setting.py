"""Every key of the engine's configuration does something: for each, what differs when it is set.

A key that is added to the language without a line in ``EFFECTS`` fails here; so does one whose effect goes missing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kos_runtime.actors import runtime
from kos_runtime.client import WorkflowEngine
from kos_runtime.composition import on_ray, owner
from kos_runtime.composition.discovery import registry_of
from kos_runtime.composition.linking import link
from kos_runtime.composition.owner import Owner, read_settings
from kos_runtime.composition.wiring import limits_of, open_in_process
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected
from kos_runtime.definition import EngineSettings, WorkflowDocument, compile_workflow, load
from kos_runtime.definition.settings import ENGINE, KEYS
from kos_runtime.definition.shapes import Obj
from tests.engine.world import HANGS, START, Fails, World, act, plan

Settings = EngineSettings
ONE_STEP = "workflow: {id: w, steps: [{id: s, agent: k, action: work}]}"
TEAM = 'workflow: {id: w, steps: [{id: s, agent: "tests.team:Team", action: greet, inputs: {name: you}}]}'


def _document(text: str) -> WorkflowDocument:
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    return document


def _fails(*_: Any, **__: Any) -> Any:
    raise Fails(ErrorType.TRANSIENT, "again")


def _after_failing(settings: Settings) -> World:
    world = World({"work": _fails})
    return world.run(compile_workflow(_document(ONE_STEP), settings=settings)[0])


def _at_work(settings: Settings) -> list[str]:
    """Start three runs that do not end; return what their rows say, or why they were refused."""
    world = World({"work": lambda *_, **__: HANGS}, limits=limits_of(settings))
    found = []
    for run in ("a", "b", "c"):
        answer = world.create(plan(act("s", "work")), run=run)
        found.append(world.status(run) if isinstance(answer, Accepted) else answer.code)
        assert not isinstance(answer, Rejected) or "max_pending_workflows" in answer.message
    return found


def _timeout(settings: Settings) -> int:
    world = World({"work": lambda *_, **__: HANGS})
    world.create(compile_workflow(_document(ONE_STEP), settings=settings)[0])
    world.virtual.step()
    world.virtual.step()
    begun = world.clock.now()
    while not world.named(ev.StepFailed):
        world.clock.advance_to(world.host.partition.next_due() or 0)
        world.virtual.step()
    return world.clock.now() - begun - world.host.limits.grace_ms


def _longest(settings: Settings) -> list[Any]:
    """Return how long a run may take, and what becomes of one that waits for an hour."""
    text = "workflow: {id: w, steps: [{id: s, wait: {for: 1h}}]}"
    world = World({}).run(compile_workflow(_document(text), settings=settings)[0])
    (begun,) = world.named(ev.RunStarted)
    return [begun.deadline - START, world.status()]


def _pauses(settings: Settings) -> list[int]:
    """Return the longest pause that each retry may have, in units of the first."""
    (policy,) = [p for p in compile_workflow(_document(ONE_STEP), settings=settings)[0].policies if p.backoff]
    from kos_runtime.core.policy.retry import delay_before

    longest = [delay_before(retry, policy.backoff, 0.999_999) for retry in (1, 2, 3)]
    return [round(pause / longest[0]) for pause in longest]


def _refused_driver(settings: Settings) -> str:
    try:
        link(compile_workflow(_document(TEAM))[0], registry_of(_document(TEAM)), settings, "cache")
    except InvalidDefinition as error:
        return str(error)
    return ""


def _processes(settings: Settings) -> int:
    linked = link(compile_workflow(_document(TEAM))[0], registry_of(_document(TEAM)), settings, "cache")
    return linked.link.agents["tests.team:Team"].most


def _started(settings: Settings, name: str) -> Any:
    """Return what Ray is told when an owner of these settings begins."""
    told: dict[str, Any] = {}

    class Enough(Exception):
        pass

    def start(*_: Any, **given: Any) -> Any:
        told.update(given)
        raise Enough

    def attach(address: str, **given: Any) -> Any:
        told.update(given, address=address)
        raise Enough

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "start_local", start)
        patch.setattr(runtime, "attach", attach)
        patch.setattr(runtime, "prepare_environment", lambda *_: None)
        patch.setattr(owner, "ATTACH_S", 3_600.0)
        made = Owner(Path("nowhere"), settings, keep=False)
        with pytest.raises(Enough):
            made._begin(Path("nowhere"))
    return told.get(name)


def _hands(settings: Settings) -> int:
    told = on_ray.setup_of(Path("nowhere"), settings, namespace="kos")["settings"]
    return int(told["hands"])


def _checkpoints(settings: Settings) -> int:
    """Return how often both hosts keep the state of a run that does something."""
    told = on_ray.setup_of(Path("nowhere"), settings, namespace="kos")["settings"]
    assert told["checkpoint_ms"] == limits_of(settings).checkpoint_ms
    return limits_of(settings).checkpoint_ms


def _written(settings: Settings, name: str = "metrics.prom") -> str:
    """Return what is written beside the log of a store in which a run was made, with a trail of its own."""
    settings = settings.with_overrides({"engine.storage.audit_backend": "json_lines"})
    with TemporaryDirectory() as folder:
        with WorkflowEngine(Path(folder), settings=settings, host="process") as kos:
            kos.start(_document(TEAM)).result(30)
        path = Path(folder) / name
        return path.read_text() if path.exists() else ""


#: key → (a value of it as text, what it does by default and what with that value, how that is seen).
EFFECTS: dict[str, tuple[str, Any, Any, Callable[[Settings], Any]]] = {
    "engine.max_concurrent_workflows": ("2", ["running"] * 3, ["running", "running", "pending"], _at_work),
    "engine.checkpoint_interval": ("30s", 300_000, 30_000, _checkpoints),
    "engine.execution.timeout_default": ("40s", 1_800_000, 40_000, _timeout),
    "engine.execution.retry_default": ("1", 4, 2, lambda s: len(_after_failing(s).executed)),
    "engine.execution.backoff_strategy": ("linear", [1, 2, 4], [1, 2, 3], _pauses),
    "engine.storage.state_backend": (
        "postgresql", "", "state_backend: postgresql is not installed here", _refused_driver),
    "engine.storage.checkpoint_backend": ("s3", "", "checkpoint_backend: s3 is not installed here", _refused_driver),
    "engine.storage.audit_backend": (
        "elasticsearch", "", "audit_backend: elasticsearch is not installed here", _refused_driver),
    "engine.max_workflow_duration": ("40m", [86_400_000, "completed"], [2_400_000, "failed"], _longest),
    "engine.monitoring.metrics_collection": ("false", True, False, lambda s: "kos_runs_total" in _written(s)),
    "engine.monitoring.performance_tracking": (
        "false", True, False, lambda s: 'kos_attempt_seconds_count{workflow="w"} 1.0' in _written(s)),
    "engine.monitoring.audit_logging": ("false", True, False, lambda s: "run_completed" in _written(s, "audit.jsonl")),
    "engine.limits.processes_per_agent": ("5", 2, 5, _processes),
    "engine.limits.hands_per_process": ("3", 4, 3, _hands),
    "engine.ray.address": ("10.0.0.1:6379", None, "10.0.0.1:6379", lambda s: _started(s, "address")),
    "engine.ray.namespace": ("mine", "kos", "mine", lambda s: _started(s, "namespace")),
    "engine.ray.dashboard": ("false", True, False, lambda s: _started(s, "dashboard")),
    "engine.ray.num_cpus": ("3", 0, 3, lambda s: _started(s, "num_cpus")),
}  # fmt: skip
#: Keys that need another one beside them to be seen.
TOGETHER = {"engine.limits.max_pending_workflows"}


def _leaves(shape: Obj, prefix: str) -> set[str]:
    found: set[str] = set()
    for key, inner in shape.keys.items():
        found |= _leaves(inner, f"{prefix}.{key}") if isinstance(inner, Obj) else {f"{prefix}.{key}"}
    return found


def test_every_key_of_the_language_is_read_and_its_effect_is_tested() -> None:
    keys = _leaves(ENGINE, "engine")
    assert keys == set(KEYS)
    assert keys == set(EFFECTS) | TOGETHER


@pytest.mark.parametrize("key", EFFECTS)
def test_a_key_has_its_effect(key: str) -> None:
    text, by_default, expected, seen = EFFECTS[key]
    before, after = seen(Settings()), seen(Settings().with_overrides({key: text}))
    if isinstance(expected, str) and "backend" in key:
        assert before == by_default
        assert expected in after
        assert "the embedded one" in after
    else:
        assert (before, after) == (by_default, expected)


def test_beyond_the_runs_at_work_a_bounded_queue_waits_and_then_creating_is_refused() -> None:
    limits = {"engine.max_concurrent_workflows": "1", "engine.limits.max_pending_workflows": "1"}
    assert _at_work(Settings().with_overrides(limits)) == ["running", "pending", "busy"]


def test_the_owner_is_told_every_setting() -> None:
    given = {key: text for key, (text, *_) in EFFECTS.items()}
    settings = Settings().with_overrides({**given, "agents.k.corpus": "docs", "people.jr": "[editor]"})
    found = read_settings(json.loads(json.dumps(settings.handed_over())))
    kept = {name for name in Settings.__dataclass_fields__ if name not in {"backoff", "sources"}}
    assert {name: getattr(found, name) for name in kept} == {name: getattr(settings, name) for name in kept}


def test_the_hosts_obey_them(tmp_path: Path) -> None:
    overrides = {"engine.limits.hands_per_process": "3", "engine.max_concurrent_workflows": "2"}
    settings = Settings().with_overrides({**overrides, "engine.limits.max_pending_workflows": "5"})
    host, store = open_in_process(str(tmp_path / "a"), settings)
    parts = on_ray.open_engine(on_ray.setup_of(tmp_path / "b", settings, namespace="kos")["settings"])
    try:
        for limits in (host.host.limits, parts.host.limits):
            assert (limits.max_active_runs, limits.max_pending_runs) == (2, 5)
        assert host._processes.hands == 3
        made = on_ray.make_runner(
            {"store": str(tmp_path), "hands": 3}, "tests.team:Team", {}, lambda _: None, lambda *_: None
        )
        assert made.hands == 3
        made.runner.close()
    finally:
        host.close()
        store.close()
        parts.close()
