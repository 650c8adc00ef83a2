"""How a run that failed goes on, when a person or a script decides it: the rungs of ``on_failure``, by hand.

::

    with kos_runtime.connect() as kos:
        recovery = RecoveryStrategy(kos)
        result = recovery.retry_with_different_agent(run, "gather")
        if result.status == "failed":
            recovery.request_manual_intervention(run, "gather")

What follows a failure by itself is said in the definition (``error_handling``); this is for what is left then. Each call is a
command with an author and a reason, reopens the failed run, and is an event of it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.client.engine import RunHandle, WorkflowEngine
from kos_runtime.core.errors import Unreachable
from kos_runtime.core.projection.steps import RunView, StepView

_OVER: Final = frozenset({"completed", "failed", "skipped", "cancelled"})
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "quarantined"})
#: A run may seem to have no owner for so many looks in a row, while another takes over.
_MOST_GONE: Final = 20


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step came to. ``status`` as ``kos get`` shows it; ``outputs`` is empty unless it completed."""

    run: str
    step: str
    status: str
    agent: str
    attempt: int
    outputs: Mapping[str, Any]
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class CompensationResult:
    """What was undone, in that order, and what waits for a person because it could not be. ``status`` is the run's."""

    run: str
    status: str
    undone: Sequence[str]
    waiting: Sequence[str]


@dataclass(frozen=True, slots=True)
class InterventionResult:
    """What a person is asked for: ``engine.answer(run, step, {...})`` with these fields, ``[name, type, required]``."""

    run: str
    step: str
    prompt: str
    fields: Sequence[Sequence[Any]]


class RecoveryStrategy:
    """Ways for a failed step of an engine's runs. ``step`` may be left out: the one at which the run failed.

    Every call raises ``NotFound`` when there is no such run or it did not fail at the step, ``InvalidDefinition`` when it has
    not failed or the way is not open to it, and ``TimeoutError`` after ``timeout`` seconds, while the run goes on.
    """

    def __init__(self, engine: WorkflowEngine, *, timeout: float | None = None) -> None:
        self._engine, self._timeout = engine, timeout

    def retry_with_backoff(
        self, run: str | RunHandle, step: str = "", *, retries: int = 1, reason: str = ""
    ) -> StepResult:
        """Try a step again, with so many further attempts, 1 to 100, between which its rule's backoff passes."""
        return self._step(run, step, "retry", reason, retries=retries)

    def retry_with_different_agent(
        self, run: str | RunHandle, step: str = "", *, retries: int = 1, reason: str = ""
    ) -> StepResult:
        """Try a step again in a process that it has not failed in, else by another kind that ``agents:`` names."""
        return self._step(run, step, "different_agent", reason, retries=retries)

    def execute_fallback(
        self, run: str | RunHandle, step: str = "", fallback: str = "", *, reason: str = ""
    ) -> StepResult:
        """Have a step on demand, or another action of the same agent, stand in; that of the step's rule unless named."""
        return self._step(run, step, "fallback", reason, fallback=fallback)

    def compensate(self, run: str | RunHandle, *, reason: str = "") -> CompensationResult:
        """Have everything undone that the run completed and that says how, newest first; then it has failed for good."""
        id = run.id if isinstance(run, RunHandle) else run
        self._engine.retry_step(id, reason=reason, way="compensate")
        view = self._until(id, lambda view: view.status in _ENDED or bool(_waiting(view)))
        undone = [path.removesuffix(":undo") for path, s in view.steps.items() if _undid(path, s)]
        return CompensationResult(id, view.status, undone, [path.removesuffix(":undo") for path in _waiting(view)])

    def request_manual_intervention(
        self, run: str | RunHandle, step: str = "", *, reason: str = ""
    ) -> InterventionResult:
        """Have a person stand in for a step; returns what is asked. ``engine.answer`` gives it."""
        id, path = self._ask(run, step, "manual", reason)
        view = self._until(id, lambda view: view.steps[path].manual is not None)
        asked = view.steps[path].manual or {}
        return InterventionResult(id, path, str(asked["prompt"]), asked["fields"])

    def _step(self, run: str | RunHandle, step: str, way: str, reason: str, **more: Any) -> StepResult:
        id, path = self._ask(run, step, way, reason, **more)
        view = self._until(id, lambda view: view.steps[path].status in _OVER or view.steps[path].manual is not None)
        found = view.steps[path]
        outputs = self._outputs(id, path) if found.status == "completed" else {}
        return StepResult(id, path, found.status, found.agent, found.attempt, outputs, found.error)

    def _ask(
        self, run: str | RunHandle, step: str, way: str, reason: str, *, retries: int = 1, fallback: str = ""
    ) -> tuple[str, str]:
        """Reopen a run; return its id, and the step at which it goes on."""
        id = run.id if isinstance(run, RunHandle) else run
        said = self._engine.retry_step(id, step, retries, reason=reason, way=way, fallback=fallback)
        lines = self._engine.events(id, after=int(said["position"]) - 1)
        return id, next(str(line.data["path"]) for line in lines if line.type == "RunReopened")

    def _outputs(self, run: str, path: str) -> Mapping[str, Any]:
        from kos_runtime.client.state import WorkflowStateManager

        return WorkflowStateManager(self._engine).load_state(run).step_results.get(path, {})

    def _until(self, run: str, holds: Any) -> RunView:
        """Wait until a run has come to something."""
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        view, pause, gone = RunView(run), 0.005, 0
        while True:
            view = self._engine.reading.view(run, into=view)
            if holds(view):
                return view
            gone = gone + 1 if self._engine.get_workflow_status(run) == "interrupted" else 0
            if gone > _MOST_GONE:
                raise Unreachable(
                    f"run {run} is interrupted: nobody owns the store; `kos resume {run}` goes on with it"
                )
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {run} is {view.status} after {self._timeout:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)


def _undid(path: str, step: StepView) -> bool:
    return path.endswith(":undo") and step.status == "completed"


def _waiting(view: RunView) -> list[str]:
    return [path for path, step in view.steps.items() if path.endswith(":undo") and step.manual is not None]


__all__ = ["CompensationResult", "InterventionResult", "RecoveryStrategy", "StepResult"]
