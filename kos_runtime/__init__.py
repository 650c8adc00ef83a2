"""An event-sourced, actor-model runtime for multi-agent workflows on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kos_runtime.client import WorkflowEngine, connect, connect_async

__version__ = "0.1.0"
__all__ = ["WorkflowEngine", "__version__", "connect", "connect_async"]


def __getattr__(name: str) -> Any:
    if name in {"WorkflowEngine", "connect", "connect_async"}:
        from kos_runtime import client

        return getattr(client, name)
    raise AttributeError(f"module 'kos_runtime' has no attribute {name!r}")
