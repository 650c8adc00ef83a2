"""The engine for rows about what agents are given and give: only real ones read and check that.

Such a row is a function ``row(engine)``; ``notices`` sees that it fails on an engine that is broken in one place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.client import RunFailed, RunWaits, WorkflowEngine
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import KosError
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import EngineSettings

PATIENCE_S = 60.0
#: Makes the agents' answers in place of the mission's own.
CREW = "tests.conformance.hands:Hands"


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has come to rest. ``outputs`` are those of a completed one, ``error`` that of a failed one."""

    run: str
    status: str
    outputs: dict[str, Any]
    error: dict[str, Any]
    events: list[Any]

    def named(self, kind: type, path: str = "") -> list[Any]:
        return [event for event in self.events if isinstance(event, kind) and path in ("", getattr(event, "path", ""))]

    def ran(self) -> list[str]:
        """Return the steps whose actions completed, in order."""
        return [event.path for event in self.named(ev.StepCompleted)]


class Engine:
    """One store and its engine, in this process or on Ray, with agents that are real."""

    def __init__(self, folder: Path, client: WorkflowEngine) -> None:
        self.folder = folder
        self.client = client
        self._count = 0

    @classmethod
    def in_process(cls, folder: Path) -> "Engine":
        return cls(folder, kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()))

    def run(self, definition: str | Path, inputs: dict[str, Any] | None = None) -> Ended:
        """Run a definition, a file or its text, until it is over or waits for a person."""
        if isinstance(definition, str):
            self._count += 1
            path = self.folder / f"w{self._count}.yaml"
            path.write_text(definition.replace("CREW", f'"{CREW}"'))
        else:
            path = definition
        return self.rest(self.client.start(path, inputs=inputs or {}).id)

    def rest(self, run: str) -> Ended:
        """Wait until a run is over or waits for a person."""
        try:
            outputs = self.client.result(run, timeout=PATIENCE_S)
        except (RunFailed, RunWaits):
            outputs = {}
        view = self.client.view(run)
        return Ended(
            run,
            self.client.get_workflow_status(run),
            outputs,
            view.error or {},
            [e.event for e in self.client.events(run)],
        )

    def is_sound(self) -> bool:
        """Say whether the engine still does an ordinary run, and its log still stands."""
        from kos_runtime.client.proof import verify_all

        fine = self.run("workflow: {id: fine, steps: [{id: s, agent: CREW, action: echo, inputs: {v: 1}}]}")
        reading = Reading(self.client.folder)
        try:
            return fine.outputs == {"v": 1} and verify_all(reading).ok
        finally:
            reading.close()

    def close(self) -> None:
        self.client.close()


#: A break of the engine: (where it is, the name there, what stands in its place).
Break = tuple[Any, str, Any]


def notices(row: Callable[[Engine], None], folder: Path, broken: Break) -> None:
    """See that a row fails on an engine that is broken in one place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*broken)
        engine = Engine.in_process(folder)
        try:
            with pytest.raises((AssertionError, pytest.fail.Exception, KosError, TimeoutError)):
                row(engine)
        finally:
            engine.close()
