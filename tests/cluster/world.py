"""A store with its owner on a real local Ray, as a test sees it: what to start, whom to end, what came of it."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kos_runtime.client
from kos_runtime.client.owner import is_owned, reach_owner, start_owner
from kos_runtime.client.reading import Reading
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition.settings import EngineSettings
from tests.oracle import check_store

PATIENCE_S = 60.0


class World:
    """One store. ``settings`` as a person would give them; the dashboard stays off unless asked for."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder / ".kos"
        self.ledger_file = folder / "ledger"
        self.gate = folder / "gate"
        self.settings = EngineSettings(**{"ray_dashboard": False, **settings})
        self.engine = kos_runtime.client.connect(self.folder, settings=self.settings)
        self.created: list[str] = []

    def keep(self) -> None:
        """Start the owner as one that does not end by itself between two tests that are slow to follow each other."""
        start_owner(self.folder, config=self.settings.handed_over(), keep=True).close()

    def start(self, workflow: str, **inputs: Any) -> str:
        """Start a run of a file beside this one, and return its id."""
        path = Path(__file__).with_name("workflows") / f"{workflow}.yaml"
        run = self.engine.start(path, inputs={"ledger": str(self.ledger_file), "gate": str(self.gate), **inputs}).id
        self.created.append(run)
        return run

    def result(self, run: str) -> dict[str, Any]:
        return self.engine.result(run, timeout=PATIENCE_S)

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        channel = reach_owner(self.folder)
        assert channel is not None
        try:
            return channel.request({"op": op, **more}, 30.0)
        finally:
            channel.close()

    def address(self) -> str:
        """Return where the owner's Ray is."""
        return str(json.loads((self.folder / "owner.json").read_text())["address"])

    def agents(self) -> list[dict[str, Any]]:
        """Return the agents' processes, without the owner and its partition."""
        return [agent for agent in self.ask("agents")["agents"] if not agent["agent"].startswith("kos/")]

    def pid(self, name: str) -> int:
        return next(int(agent["pid"]) for agent in self.ask("agents")["agents"] if agent["agent"] == name)

    def events(self, run: str) -> list[Any]:
        with contextlib.closing(Reading(self.folder)) as reading:
            return [line.event for line in reading.lines(run)]

    def progress(self, run: str, path: str) -> str:
        """Return what a running step says of how far it is, empty when it says nothing."""
        step = self.engine.view(run).steps.get(path)
        return "" if step is None or step.progress is None else str(step.progress.message)

    def causes_of_redispatch(self, run: str) -> list[str]:
        return [event.cause for event in self.events(run) if isinstance(event, ev.StepRedispatched)]

    def ledger(self) -> list[tuple[str, str, int, int]]:
        """Return (run, path, attempt, fence) of every execution of a body, in order."""
        if not self.ledger_file.exists():
            return []
        rows = [line.split() for line in self.ledger_file.read_text().splitlines()]
        return [(run, path, int(attempt), int(fence)) for run, path, attempt, fence in rows]

    def executions(self, run: str, path: str) -> int:
        return sum(1 for entry in self.ledger() if entry[:2] == (run, path))

    def condition(self) -> str:
        """Return the end of the owner's log, its agents, and where the newest run stands."""
        said = []
        with contextlib.suppress(OSError):
            said += (self.folder / "owner.log").read_text(errors="replace").splitlines()[-60:]
        with contextlib.suppress(Exception):
            said += [str(agent) for agent in self.agents()]
        with contextlib.suppress(Exception):
            said += [str(event) for event in self.events(self.created[-1])[-12:]]
        return "\n".join(said)

    def violations(self) -> list[str]:
        return check_store(self.folder, created=self.created, ledger=self.ledger())

    def open_gate(self) -> None:
        self.gate.touch()

    def close(self) -> None:
        """End the owner in the ordinary way, however the test left it."""
        with contextlib.suppress(Exception):
            self.ask("stop")
        self.engine.close()
        wait_until(lambda: not is_owned(self.folder), "the owner ended")


def wait_until(holds: Callable[[], Any], what: str, timeout: float = PATIENCE_S) -> None:
    """Look until something holds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"


def descendants(pid: int) -> list[int]:
    """Return the process and all that it and its children have started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                stat = (entry / "stat").read_text()
                parent = int(stat[stat.rindex(")") + 2 :].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found
