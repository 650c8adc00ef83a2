"""What a driver script holds."""

from pathlib import Path
from typing import Any, Literal

from kos_runtime.client.awaitable import AsyncWorkflowEngine
from kos_runtime.client.engine import RunFailed, RunHandle, RunWaits, WorkflowEngine
from kos_runtime.definition.settings import EngineSettings

__all__ = [
    "AsyncWorkflowEngine", "RunFailed", "RunHandle", "RunWaits", "WorkflowEngine", "connect", "connect_async",
]  # fmt: skip


def connect(
    store: str | Path | None = None,
    *,
    settings: EngineSettings | None = None,
    host: Literal["ray", "process"] = "ray",
    **more: Any,
) -> WorkflowEngine:
    """Return an engine over a store (``--store``'s rules when not given). Nothing is started before it is needed."""
    return WorkflowEngine(store, settings=settings, host=host, **more)


def connect_async(
    store: str | Path | None = None,
    *,
    settings: EngineSettings | None = None,
    host: Literal["ray", "process"] = "ray",
    **more: Any,
) -> AsyncWorkflowEngine:
    """Return the same engine with awaitable calls."""
    return AsyncWorkflowEngine(WorkflowEngine(store, settings=settings, host=host, **more))
