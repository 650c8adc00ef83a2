"""What a driver script holds. Names are looked up when they are used, so that reading a store loads no language."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kos_runtime.client.awaitable import AsyncWorkflowEngine
    from kos_runtime.client.changing import RevisionConflict
    from kos_runtime.client.checkpoint import CheckpointManager
    from kos_runtime.client.engine import RunFailed, RunHandle, RunWaits, WorkflowEngine
    from kos_runtime.client.state import WorkflowStateManager
    from kos_runtime.definition.settings import EngineSettings

__all__ = [
    "AsyncWorkflowEngine",
    "CheckpointManager",
    "RevisionConflict",
    "RunFailed",
    "RunHandle",
    "RunWaits",
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


def __getattr__(name: str) -> Any:
    if name == "AsyncWorkflowEngine":
        from kos_runtime.client import awaitable

        return awaitable.AsyncWorkflowEngine
    if name == "RevisionConflict":
        from kos_runtime.client import changing

        return changing.RevisionConflict
    if name == "CheckpointManager":
        from kos_runtime.client import checkpoint

        return checkpoint.CheckpointManager
    if name == "WorkflowStateManager":
        from kos_runtime.client import state

        return state.WorkflowStateManager
    if name in __all__:
        from kos_runtime.client import engine

        return getattr(engine, name)
    raise AttributeError(f"module 'kos_runtime.client' has no attribute {name!r}")
