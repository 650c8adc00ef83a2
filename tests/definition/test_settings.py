"""The engine's configuration: defaults, files over them, and single settings over those."""

import pytest

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import EngineDocument, EngineSettings, load
from tests.definition.files import EXAMPLES, said


def _settings(text: str | bytes) -> EngineSettings:
    document = load(text, "engine.yaml")
    assert isinstance(document, EngineDocument)
    return EngineSettings.from_document(document.content, "engine.yaml")


def test_defaults_are_the_missions_numbers_on_an_embedded_store() -> None:
    settings = EngineSettings()
    assert (settings.max_concurrent_workflows, settings.max_workflow_duration_ms) == (100, 24 * 3_600_000)
    assert (settings.checkpoint_interval_ms, settings.timeout_default_ms) == (300_000, 1_800_000)
    assert (settings.retry_default, settings.backoff.strategy) == (3, "exponential")
    assert settings.drivers() == {"state": "sqlite", "checkpoint": "sqlite", "audit": "sqlite"}


def test_the_missions_configuration_names_its_drivers() -> None:
    settings = _settings((EXAMPLES / "workflow-engine.yaml").read_bytes())
    assert settings.drivers() == {"state": "postgresql", "checkpoint": "s3", "audit": "elasticsearch"}
    assert settings.sources["engine.execution.retry_default"] == "engine.yaml"
    assert (settings.metrics_collection, settings.audit_logging, settings.performance_tracking) == (True, True, True)


def test_what_a_file_does_not_say_keeps_its_default() -> None:
    settings = _settings(
        "engine: {execution: {retry_default: 7}}\nagents: {kExecutor: {corpus: docs}}\npeople: {jr: [editor]}\n"
    )
    assert (settings.retry_default, settings.timeout_default_ms) == (7, 1_800_000)
    assert settings.agents == {"kExecutor": {"corpus": "docs"}}
    assert settings.people == {"jr": ["editor"]}


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("engine.max_concurrent_workflows", "7", lambda s: s.max_concurrent_workflows == 7),
        ("engine.execution.timeout_default", "90s", lambda s: s.timeout_default_ms == 90_000),
        ("engine.storage.state_backend", "memory", lambda s: s.state_backend == "memory"),
        ("engine.monitoring.audit_logging", "false", lambda s: s.audit_logging is False),
        ("engine.limits.processes_per_agent", "5", lambda s: s.processes_per_agent == 5),
        ("agents.kExecutor.corpus", "python:ray", lambda s: s.agents["kExecutor"]["corpus"] == "python:ray"),
        ("agents.kExecutor.depth", "3", lambda s: s.agents["kExecutor"]["depth"] == 3),
        ("people.jr", "[editor, operator]", lambda s: s.people["jr"] == ["editor", "operator"]),
    ],
)
def test_one_setting_is_read_with_its_type(name: str, text: str, read: object) -> None:
    settings = EngineSettings().with_overrides({name: text})
    assert callable(read)
    assert read(settings)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("engin.retry", "1", "--set engin.retry: unknown setting 'engin'; did you mean 'engine'?"),
        (
            "engine.execution.retry_defalt",
            "1",
            "unknown key 'retry_defalt' in execution; did you mean 'retry_default'?",
        ),
        ("engine.execution.retry_default", "many", "retry_default: expected a whole number, got 'many'"),
        ("engine.execution.retry_default", "101", "retry_default: must be 0..100, got 101"),
        ("engine.execution.backoff_strategy", "liner", "got 'liner'; did you mean 'linear'?"),
        ("engine.checkpoint_interval", "5", "checkpoint_interval: expected a duration such as 30s, 5m or 24h, got 5"),
        ("engine.storage", "sqlite", "storage: expected storage (keys with values), got 'sqlite'"),
        ("agents.kExecutor.corpus", "*a", "aliases (*a) are not allowed"),
        ("agents.kExecutor.corpus", "[1", "this is no YAML"),
        ("agents.kExecutor.x", "!!python/object:os.system {}", "tags (tag:yaml.org,2002:python/object:os.system)"),
        ("agents.kExecutor.x", ".nan", ".nan is no number that can be stored"),
    ],
)
def test_one_setting_that_does_not_fit_is_refused_by_name(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        EngineSettings().with_overrides({name: text})
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_yaml_1_2_holds_for_one_setting_too() -> None:
    settings = EngineSettings().with_overrides({"agents.k.a": "on", "agents.k.b": "010", "agents.k.c": "12:30:00"})
    assert settings.agents["k"] == {"a": "on", "b": "010", "c": "12:30:00"}


def test_an_unknown_key_of_a_configuration_has_the_nearest_name() -> None:
    assert said("engine:\n  max_concurent_workflows: 3\n") == [
        "2:3 KOS102 unknown key 'max_concurent_workflows' in engine; did you mean 'max_concurrent_workflows'?"
    ]
