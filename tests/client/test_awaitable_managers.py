"""The awaitable faces of the managers have every call of the others, and do the same."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime import client
from kos_runtime.client import AsyncCheckpointManager, AsyncRecoveryStrategy, AsyncWorkflowStateManager, RunFailed
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import FAIL, GREET


@pytest.mark.parametrize("name", ["WorkflowStateManager", "CheckpointManager", "RecoveryStrategy", "WorkflowEngine"])
def test_it_has_every_call(name: str) -> None:
    plain, awaited = getattr(client, name), getattr(client, f"Async{name}")
    calls = {call for call, what in vars(plain).items() if inspect.isfunction(what) and not call.startswith("_")}
    # What looks at files alone, and what the engine's own parts ask of it.
    here = {"view", "catalogue", "family", "agents", "set_checkpoints", "create_compiled", "ask_owner"}
    left_out = here if name == "WorkflowEngine" else set()
    assert calls - left_out <= set(vars(awaited))


def test_they_do_the_same(tmp_path: Path) -> None:
    (tmp_path / "greet.yaml").write_text(GREET)
    (tmp_path / "fail.yaml").write_text(FAIL)

    async def main() -> None:
        async with kos_runtime.connect_async(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
            states, checkpoints, recovery = (
                AsyncWorkflowStateManager(kos), AsyncCheckpointManager(kos), AsyncRecoveryStrategy(kos, timeout=20),
            )  # fmt: skip
            run = await kos.start(tmp_path / "greet.yaml", who="you")
            await run.result(20)
            state = await states.load_state(run)
            assert [state.id] == [each.id for each in await states.get_workflows_by_status("completed")]
            assert await states.get_active_workflows() == []
            await states.save_state(state)
            made = await checkpoints.create_checkpoint(run)
            assert made in await checkpoints.list_checkpoints(run)
            begun = await states.load_state(run, at=1)
            await states.save_state(begun)
            fork = await checkpoints.restore_from_checkpoint(f"{run.id}@1", fork=True)
            assert fork.id != run.id
            await checkpoints.delete_checkpoint(made.id)
            later = await kos.create_workflow(tmp_path / "greet.yaml", {"who": "later"})
            await checkpoints.enable_auto_checkpoint(later, timedelta(minutes=1))
            await checkpoints.disable_auto_checkpoint(later)
            bad = await kos.start(tmp_path / "fail.yaml")
            with pytest.raises(RunFailed):
                await bad.result(20)
            asked = await recovery.request_manual_intervention(bad, reason="look")
            assert asked.prompt
        away = kos_runtime.connect_async(tmp_path / ".kos", settings=EngineSettings())
        async with away:
            old = datetime.now(UTC) + timedelta(seconds=1)
            assert await AsyncWorkflowStateManager(away).archive_completed_workflows(old) >= 1
            assert await AsyncWorkflowStateManager(away).purge_failed_workflows(old) == 0

    asyncio.run(main())
