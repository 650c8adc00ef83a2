"""The same engine with awaitable calls: each runs on one worker thread, in order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from kos_runtime.client import coordinating
from kos_runtime.client.engine import GRACE_S, RunHandle, WorkflowEngine
from kos_runtime.client.reading import EventLine
from kos_runtime.core.machine import Machine

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from kos_runtime.client.checkpoint import Checkpoint
    from kos_runtime.client.recovery import CompensationResult, InterventionResult, StepResult
    from kos_runtime.client.schedules import ScheduleView
    from kos_runtime.client.state import WorkflowState

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AsyncRunHandle:
    """One run of an awaitable engine."""

    def __init__(self, engine: "AsyncWorkflowEngine", handle: RunHandle) -> None:
        self.engine, self.id, self.existing = engine, handle.id, handle.existing

    async def status(self) -> str:
        return await self.engine.get_workflow_status(self.id)

    async def result(self, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - as the engine's own
        return await self.engine.result(self.id, timeout)

    async def events(self) -> list[EventLine]:
        return await self.engine.events(self.id)


class AsyncWorkflowEngine:
    """See ``WorkflowEngine``; waiting for a result holds no other call up."""

    def __init__(self, engine: WorkflowEngine) -> None:
        self.engine = engine
        # SQLite's connections stay on the thread that made them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kos-client")

    async def _call(self, function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*arguments, **named))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._call(self.engine.close)
        self._thread.shutdown()

    async def create_workflow(
        self, definition: str | Path, inputs: Mapping[str, Any] | None = None, **more: Any
    ) -> AsyncRunHandle:
        handle = await self._call(self.engine.create_workflow, definition, inputs, **more)
        return AsyncRunHandle(self, handle)

    async def create_workflows(
        self, definition: str | Path, inputs: Sequence[Mapping[str, Any]], **more: Any
    ) -> list[AsyncRunHandle]:
        handles = await self._call(self.engine.create_workflows, definition, inputs, **more)
        return [AsyncRunHandle(self, handle) for handle in handles]

    async def execute_workflow(self, run: str | AsyncRunHandle) -> None:
        await self._call(self.engine.execute_workflow, _id(run))

    async def start(
        self,
        definition: str | Path,
        *,
        inputs: Mapping[str, Any] | None = None,
        name: str = "",
        key: str = "",
        search_attributes: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> AsyncRunHandle:
        given = {**(inputs or {}), **more}
        handle = await self._call(
            self.engine.create_workflow, definition, given, name=name, key=key, start=True,
            search_attributes=search_attributes,
        )  # fmt: skip
        return AsyncRunHandle(self, handle)

    async def call(
        self,
        service: str,
        capability: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        key: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - as the engine's own
        **more: Any,
    ) -> Any:
        from kos_runtime.client.calling import RESULT, call_document

        values = {**(inputs or {}), **more}
        document = call_document(service, capability, values)
        handle = await self._call(self.engine.create_workflow, document, values, name=name, key=key, start=True)
        return (await self.result(handle.id, timeout))[RESULT]

    async def answer(self, run: str | AsyncRunHandle, step: str, data: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call(self.engine.answer, _id(run), step, data)

    async def signal(self, run: str | AsyncRunHandle, name: str, data: Any = None) -> dict[str, Any]:
        return await self._call(self.engine.signal, _id(run), name, data)

    async def grant(self, run: str | AsyncRunHandle, name: str, to: str, **more: Any) -> dict[str, Any]:
        return await self._call(self.engine.grant, _id(run), name, to, **more)

    async def revoke(self, run: str | AsyncRunHandle, grant: str, **more: Any) -> dict[str, Any]:
        return await self._call(self.engine.revoke, _id(run), grant, **more)

    async def authority(self, run: str | AsyncRunHandle) -> dict[str, Any]:
        return await self._call(self.engine.authority, _id(run))

    async def check_authority(self, run: str | AsyncRunHandle, agent: str, grant: str, **more: Any) -> bool:
        return await self._call(self.engine.check_authority, _id(run), agent, grant, **more)

    async def escalate_authority(
        self, run: str | AsyncRunHandle, agent: str, grant: str, **more: Any
    ) -> dict[str, Any]:
        return await self._call(self.engine.escalate_authority, _id(run), agent, grant, **more)

    async def approve(self, run: str | AsyncRunHandle, step: str = "", **more: Any) -> dict[str, Any]:
        return await self._call(self.engine.approve, _id(run), step, **more)

    async def reject(self, run: str | AsyncRunHandle, step: str = "", **more: Any) -> dict[str, Any]:
        return await self._call(self.engine.reject, _id(run), step, **more)

    async def resume(self, run: str | AsyncRunHandle) -> None:
        await self._call(self.engine.resume, _id(run))

    async def pause_workflow(self, run: str | AsyncRunHandle, reason: str = "") -> dict[str, Any]:
        return await self._call(self.engine.pause_workflow, _id(run), reason)

    async def resume_workflow(self, run: str | AsyncRunHandle, reason: str = "") -> dict[str, Any]:
        return await self._call(self.engine.resume_workflow, _id(run), reason)

    async def cancel_workflow(
        self, run: str | AsyncRunHandle, reason: str = "", *, grace: float = GRACE_S
    ) -> dict[str, Any]:
        return await self._call(self.engine.cancel_workflow, _id(run), reason, grace=grace)

    async def retry_step(
        self, run: str | AsyncRunHandle, step: str = "", retry_count: int = 1, **more: Any
    ) -> dict[str, Any]:
        return await self._call(self.engine.retry_step, _id(run), step, retry_count, **more)

    async def requeue(self, run: str | AsyncRunHandle, step: str = "", *, reason: str = "") -> dict[str, Any]:
        return await self._call(self.engine.requeue, _id(run), step, reason=reason)

    async def open(
        self, stream: str, machine: Machine[Any], setup: Any, nodes: Sequence[str], *,
        agents: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        await self._call(coordinating.open_stream, self.engine, stream, machine, setup, nodes, agents or {})

    async def command(self, stream: str, node: str, command: Any) -> Any:
        return await self._call(coordinating.tell, self.engine, stream, node, command)

    async def until(self, stream: str, found: Callable[[Any], bool]) -> Any:
        return await coordinating.wait_for(self.engine, stream, found, self._call)

    def coordinator(self, agents: Mapping[str, str]) -> "coordinating.CoordinatorOver":
        return coordinating.CoordinatorOver(self, agents)

    async def set_search_attributes(self, run: str | AsyncRunHandle, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call(self.engine.set_search_attributes, _id(run), attributes)

    async def get_search_attributes(self, run: str | AsyncRunHandle) -> dict[str, str]:
        return await self._call(self.engine.get_search_attributes, _id(run))

    async def fork(
        self,
        run: str | AsyncRunHandle,
        at: int,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - as the engine's own
        name: str = "",
        reason: str = "",
    ) -> AsyncRunHandle:
        handle = await self._call(self.engine.fork, _id(run), at, set=set, name=name, reason=reason)
        return AsyncRunHandle(self, handle)

    async def restore(self, run: str | AsyncRunHandle, to: int, *, reason: str = "") -> dict[str, Any]:
        return await self._call(self.engine.restore, _id(run), to, reason=reason)

    async def add_step(self, run: str | AsyncRunHandle, step: str | Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return await self._call(self.engine.add_step, _id(run), step, **more)

    async def remove_step(self, run: str | AsyncRunHandle, step: str, **more: Any) -> dict[str, Any]:
        return await self._call(self.engine.remove_step, _id(run), step, **more)

    async def modify_step(
        self, run: str | AsyncRunHandle, step: str, changes: str | Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        return await self._call(self.engine.modify_step, _id(run), step, changes, **more)

    async def execute_step(
        self, run: str | AsyncRunHandle, step: str, inputs: Mapping[str, Any] | None = None, *, reason: str = ""
    ) -> dict[str, Any]:
        return await self._call(self.engine.execute_step, _id(run), step, inputs, reason=reason)

    async def schedule_workflow(
        self, definition: str | Path, inputs: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        return await self._call(self.engine.schedule_workflow, definition, inputs, **more)

    async def unschedule(self, name: str, reason: str = "") -> dict[str, Any]:
        return await self._call(self.engine.unschedule, name, reason)

    async def schedules(self) -> "list[ScheduleView]":
        return await self._call(self.engine.schedules)

    async def get_workflow_status(self, run: str | AsyncRunHandle) -> str:
        return await self._call(self.engine.get_workflow_status, _id(run))

    async def get_execution_history(self, run: str | AsyncRunHandle) -> list[dict[str, Any]]:
        return await self._call(self.engine.get_execution_history, _id(run))

    async def events(self, run: str | AsyncRunHandle, *, after: int = 0) -> list[EventLine]:
        return await self._call(lambda: list(self.engine.events(_id(run), after=after)))

    async def messages(self, run: str | AsyncRunHandle) -> list[dict[str, Any]]:
        return await self._call(self.engine.messages, _id(run))

    async def children(self, run: str | AsyncRunHandle) -> list[AsyncRunHandle]:
        return [AsyncRunHandle(self, child) for child in await self._call(self.engine.children, _id(run))]

    async def result(self, run: str | AsyncRunHandle, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109
        """Wait for a run's end and return its outputs, leaving the thread free between looks."""
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        pause = 0.005
        while True:
            try:
                return await self._call(self.engine.result, _id(run), 0.0)
            except TimeoutError as error:
                if deadline is not None and asyncio.get_running_loop().time() > deadline:
                    status = await self.get_workflow_status(run)
                    raise TimeoutError(f"run {_id(run)} is {status} after {timeout:g} s") from error
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)


class AsyncWorkflowStateManager:
    """See ``WorkflowStateManager``; its calls are awaited, on the engine's own thread."""

    def __init__(self, engine: AsyncWorkflowEngine) -> None:
        from kos_runtime.client.state import WorkflowStateManager

        self._engine, self._manager = engine, WorkflowStateManager(engine.engine)

    async def save_state(self, state: "WorkflowState") -> None:
        await self._engine._call(self._manager.save_state, state)

    async def load_state(self, run: str | AsyncRunHandle, *, at: int | None = None) -> "WorkflowState":
        return await self._engine._call(self._manager.load_state, _id(run), at=at)

    async def get_workflows_by_status(self, status: str) -> "list[WorkflowState]":
        return await self._engine._call(self._manager.get_workflows_by_status, status)

    async def get_workflows_by_attributes(self, attributes: Mapping[str, Any], **more: Any) -> "list[WorkflowState]":
        return await self._engine._call(self._manager.get_workflows_by_attributes, attributes, **more)

    async def get_active_workflows(self) -> "list[WorkflowState]":
        return await self._engine._call(self._manager.get_active_workflows)

    async def archive_completed_workflows(self, older_than: "datetime") -> int:
        return await self._engine._call(self._manager.archive_completed_workflows, older_than)

    async def purge_failed_workflows(self, older_than: "datetime") -> int:
        return await self._engine._call(self._manager.purge_failed_workflows, older_than)


class AsyncCheckpointManager:
    """See ``CheckpointManager``; its calls are awaited, on the engine's own thread."""

    def __init__(self, engine: AsyncWorkflowEngine) -> None:
        from kos_runtime.client.checkpoint import CheckpointManager

        self._engine, self._manager = engine, CheckpointManager(engine.engine)

    async def create_checkpoint(self, run: str | AsyncRunHandle, step: str = "") -> "Checkpoint":
        return await self._engine._call(self._manager.create_checkpoint, _id(run), step)

    async def restore_from_checkpoint(
        self, checkpoint: str, *, fork: bool = False, reason: str = ""
    ) -> "WorkflowState":
        return await self._engine._call(self._manager.restore_from_checkpoint, checkpoint, fork=fork, reason=reason)

    async def list_checkpoints(self, run: str | AsyncRunHandle) -> "list[Checkpoint]":
        return await self._engine._call(self._manager.list_checkpoints, _id(run))

    async def delete_checkpoint(self, checkpoint: str) -> None:
        await self._engine._call(self._manager.delete_checkpoint, checkpoint)

    async def enable_auto_checkpoint(self, run: str | AsyncRunHandle, interval: "timedelta") -> None:
        await self._engine._call(self._manager.enable_auto_checkpoint, _id(run), interval)

    async def disable_auto_checkpoint(self, run: str | AsyncRunHandle) -> None:
        await self._engine._call(self._manager.disable_auto_checkpoint, _id(run))


class AsyncRecoveryStrategy:
    """See ``RecoveryStrategy``; its calls are awaited. While one waits for its step, the engine's other calls wait too."""

    def __init__(self, engine: AsyncWorkflowEngine, *, timeout: float | None = None) -> None:
        from kos_runtime.client.recovery import RecoveryStrategy

        self._engine, self._strategy = engine, RecoveryStrategy(engine.engine, timeout=timeout)

    async def retry_with_backoff(self, run: str | AsyncRunHandle, step: str = "", **more: Any) -> "StepResult":
        return await self._engine._call(self._strategy.retry_with_backoff, _id(run), step, **more)

    async def retry_with_different_agent(self, run: str | AsyncRunHandle, step: str = "", **more: Any) -> "StepResult":
        return await self._engine._call(self._strategy.retry_with_different_agent, _id(run), step, **more)

    async def execute_fallback(
        self, run: str | AsyncRunHandle, step: str = "", fallback: str = "", **more: Any
    ) -> "StepResult":
        return await self._engine._call(self._strategy.execute_fallback, _id(run), step, fallback, **more)

    async def compensate(self, run: str | AsyncRunHandle, **more: Any) -> "CompensationResult":
        return await self._engine._call(self._strategy.compensate, _id(run), **more)

    async def request_manual_intervention(
        self, run: str | AsyncRunHandle, step: str = "", **more: Any
    ) -> "InterventionResult":
        return await self._engine._call(self._strategy.request_manual_intervention, _id(run), step, **more)


def _id(run: str | AsyncRunHandle) -> str:
    return run.id if isinstance(run, AsyncRunHandle) else run
