"""A runtime to measure: a store in a folder of its own, its partition and agents on Ray, and a driver that feeds it."""

import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.composition import wiring
from kos_runtime.composition.discovery import Registry
from kos_runtime.composition.linking import link
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow.commands import Answer, CreateRun, Rejected
from kos_runtime.definition import EngineSettings, WorkflowDocument, compile_workflow, load

AGENT: Final = '"benchmarks.noop:Noop"'
PAYLOAD: Final = {"text": "x" * 180, "n": 1}

SEQUENTIAL: Final = "workflow:\n  id: w1\n  steps:\n" + "".join(
    f"    - {{id: s{i}, agent: {AGENT}, action: noop, inputs: {{d: {'$inputs.d' if i == 0 else f'$steps.s{i - 1}.d'}}}, "
    f"outputs: {{d: $result}}}}\n"
    for i in range(4)
)
FAN: Final = f"""
workflow:
  id: w2
  steps:
    - {{id: n, agent: {AGENT}, action: numbers, inputs: {{n: $inputs.n}}, outputs: {{items: items}}}}
    - id: each
      for_each: {{in: $steps.n.items, as: d}}
      agent: {AGENT}
      action: noop
      inputs: {{d: $d}}
      outputs: {{d: $result}}
    - {{id: join, agent: {AGENT}, action: join, inputs: {{count: "${{{{ len($steps.each.d) }}}}"}}}}
"""

RETRIES: Final = (
    FAN.replace("id: w2", "id: retries")
    .replace("action: noop", "action: flaky")
    .replace(
        "      outputs: {d: $result}\n",
        "      outputs: {d: $result}\n      retry: {max_retries: 3, backoff: {strategy: fixed, initial: 10ms, jitter: false}}\n",
    )
)


class Runtime:
    """A partition and its agents on a local Ray. ``ask`` sends commands in one batch."""

    def __init__(self, folder: Path, *, active: int) -> None:
        from kos_runtime.actors import runtime
        from kos_runtime.composition import on_ray

        self.folder = folder
        self.settings = EngineSettings(
            max_concurrent_workflows=active, max_pending_workflows=1_000_000, processes_per_agent=1, ray_dashboard=False
        )
        runtime.prepare_environment(folder / "ray.token", [str(Path.cwd())])
        runtime.start_local(folder / "ray", dashboard=False, num_cpus=0)
        from kos_runtime.actors.supervisor import Supervisor

        setup = on_ray.setup_of(folder / ".kos", self.settings, namespace=runtime.NAMESPACE)
        (folder / ".kos").mkdir(mode=0o700, exist_ok=True)
        self.supervisor = Supervisor(setup, on_ray.make_codec(), lambda *_, **__: None)
        self.supervisor.wait_ready(120.0)
        self.reader = SqliteLogReader.open(folder / ".kos")
        self._digests: dict[str, tuple[str, str]] = {}
        self.count = 0

    def prepare(self, text: str) -> tuple[str, str]:
        """Compile, link and store a definition; return the digests of plan and link."""
        if text not in self._digests:
            document = load(text, "benchmark.yaml")
            assert isinstance(document, WorkflowDocument)
            plan, _ = compile_workflow(document, settings=self.settings)
            linked = link(plan, Registry(), self.settings, wiring.cache_dir(str(self.folder / ".kos")))
            blobs = wiring.blob_store(str(self.folder / ".kos"))
            self._digests[text] = (
                blobs.put(wiring.CODEC.pack(to_plain(plan))).digest,
                blobs.put(wiring.CODEC.pack(to_plain(linked.link))).digest,
            )
        return self._digests[text]

    def create(self, text: str, inputs: dict[str, Any], count: int = 1) -> list[str]:
        """Create and start so many runs in one request; durable when this returns."""
        plan, linked = self.prepare(text)
        commands = []
        for _ in range(count):
            self.count += 1
            commands.append(
                CreateRun(
                    run=f"b{self.count:08d}", plan=plan, link=linked, settings={}, drivers={}, inputs=inputs,
                    seed=self.count, salt=os.urandom(16), author="user:benchmark",
                )
            )  # fmt: skip
        answers: list[Answer] = self.supervisor.ask([("", command) for command in commands], 120.0)
        refused = [answer for answer in answers if isinstance(answer, Rejected)]
        if refused:
            raise RuntimeError(f"{len(refused)} creates were refused: {refused[0].message}")
        return [command.run for command in commands]

    def completed(self) -> int:
        """Return how many runs have ended: those created, less those at work, which an index counts."""
        query = "SELECT count(*) FROM runs WHERE status IN ('running', 'created', 'pending')"
        rows: list[Any] = self.reader._connection.execute(query).fetchall()
        return self.count - int(rows[0][0])

    def wait(self, run: str, timeout: float = 120.0) -> None:
        """Wait for one run's end, looking as often as a reader reasonably can."""
        deadline = time.monotonic() + timeout
        while True:
            row = self.reader.run(run)
            if row is not None and row.status == "completed":
                return
            if row is not None and row.status in {"failed", "quarantined"}:
                raise RuntimeError(f"run {run} {row.status}: {row.error}")
            if time.monotonic() > deadline:
                raise TimeoutError(run)
            time.sleep(0.0005)

    def partition_pid(self) -> int:
        for agent in self.supervisor.agents():
            if agent.get("kind") == "partition":
                return int(agent["pid"])
        return 0

    def close(self) -> None:
        from kos_runtime.actors import runtime

        self.reader.close()
        with contextlib.suppress(Exception):
            self.supervisor.stop(10.0)
        runtime.shut_down()


@contextlib.contextmanager
def running(*, active: int) -> Iterator[Runtime]:
    """A runtime that is gone afterwards, with its folder."""
    folder = Path(tempfile.mkdtemp(prefix="kos-bench-"))
    runtime = Runtime(folder, active=active)
    try:
        yield runtime
    finally:
        runtime.close()
        shutil.rmtree(folder, ignore_errors=True)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    return statistics.median(values)
