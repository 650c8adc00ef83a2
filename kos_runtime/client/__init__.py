"""What a driver script holds. Names are looked up when they are used, so that reading a store loads no language."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kos_runtime.client.awaitable import (
        AsyncCheckpointManager,
        AsyncRecoveryStrategy,
        AsyncWorkflowEngine,
        AsyncWorkflowStateManager,
    )
    from kos_runtime.client.changing import RevisionConflict
    from kos_runtime.client.checkpoint import CheckpointManager
    from kos_runtime.client.engine import RunFailed, RunHandle, RunWaits, WorkflowEngine
    from kos_runtime.client.recovery import CompensationResult, InterventionResult, RecoveryStrategy, StepResult
    from kos_runtime.client.state import WorkflowStateManager
    from kos_runtime.definition.settings import EngineSettings

__all__ = [
    "AsyncCheckpointManager",
    "AsyncRecoveryStrategy",
    "AsyncWorkflowEngine",
    "AsyncWorkflowStateManager",
    "CheckpointManager",
    "CompensationResult",
    "InterventionResult",
    "RecoveryStrategy",
    "RevisionConflict",
    "RunFailed",
    "RunHandle",
    "RunWaits",
    "StepResult",
    "WorkflowEngine",
    "WorkflowStateManager",
    "connect",
    "connect_async",
]


def connect(
    store: str | Path | None = None,
    *,
    settings: "EngineSettings | None" = None,
    host: Literal["ray", "process"] = "ray",
    **more: Any,
) -> "WorkflowEngine":
    """Return an engine over a store (``--store``'s rules when not given). Nothing is started before it is needed."""
    from kos_runtime.client.engine import WorkflowEngine

    return WorkflowEngine(store, settings=settings, host=host, **more)


def connect_async(
    store: str | Path | None = None,
    *,
    settings: "EngineSettings | None" = None,
    host: Literal["ray", "process"] = "ray",
    **more: Any,
) -> "AsyncWorkflowEngine":
    """Return the same engine with awaitable calls."""
    from kos_runtime.client.awaitable import AsyncWorkflowEngine

    return AsyncWorkflowEngine(connect(store, settings=settings, host=host, **more))


#: In which module of this package each name is; the engine's own, unless it says otherwise.
_WHERE = {
    "AsyncCheckpointManager": "awaitable",
    "AsyncRecoveryStrategy": "awaitable",
    "AsyncWorkflowEngine": "awaitable",
    "AsyncWorkflowStateManager": "awaitable",
    "CheckpointManager": "checkpoint",
    "CompensationResult": "recovery",
    "InterventionResult": "recovery",
    "RecoveryStrategy": "recovery",
    "RevisionConflict": "changing",
    "StepResult": "recovery",
    "WorkflowStateManager": "state",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"kos_runtime.client.{_WHERE.get(name, 'engine')}"), name)
    raise AttributeError(f"module 'kos_runtime.client' has no attribute {name!r}")
