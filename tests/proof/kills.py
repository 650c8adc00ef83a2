"""Real processes, killed at every named place: what was acknowledged is there, and the result is the same.

Each trial runs one workload in a forked process (everything is imported already, so a kill costs what recovery costs),
kills it with SIGKILL at the n-th visit of a failpoint, lets successors go on (some of which are killed too), and gives
the whole history to the oracle.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from kos_runtime.client.engine import RunHandle, WorkflowEngine
from kos_runtime.composition import wiring
from kos_runtime.core import failpoint
from kos_runtime.definition import EngineSettings, WorkflowDocument, load
from kos_runtime.engine.limits import Limits
from tests.oracle import check_store
from tests.proof.team import LEDGER
from tests.proof.workloads import WORKLOADS, Workload

#: At which visit of its place a process is killed, after one round of first visits; many are visited once or twice.
_VISITS = (1, 1, 1, 2, 3, 5, 8, 21)
#: Places that only a successor comes to: it folds a run that somebody else began.
_LATER = frozenset({"load.after"})
_LIFETIME_S = 60


def run(kills: int, seed: int, *, names: tuple[str, ...] = failpoint.NAMES) -> dict[str, Any]:
    """Kill processes until ``kills`` have died, the places in turn, and return what was seen.

    How much happens between two commits is up to the machine, and so is whether a workload comes to a place at all: where
    there are kills for all of them, what was not come to is tried again with the next workload.

    ``violations`` are sentences with the trial that shows each: ``seed:trial``.
    """
    usual = wiring.limits_of
    # Snapshots at every turn, so that there are some in histories this short.
    wiring.limits_of = _often
    try:
        return _run(kills, seed, names)
    finally:
        wiring.limits_of = usual


def _run(kills: int, seed: int, names: tuple[str, ...]) -> dict[str, Any]:
    draw = random.Random(seed)
    hits: Counter[str] = Counter()
    by_workload: Counter[str] = Counter()
    violations: list[str] = []
    done = trial = 0
    documents = {name: load(workload.text, f"{name}.yaml") for name, workload in WORKLOADS.items()}
    expected: dict[str, dict[str, Any]] = {}
    begin = time.monotonic()
    every = frozenset(names if kills >= len(names) else ())
    while (done < kills or every - set(hits)) and trial < kills * 4 + 100:
        # Every place in turn, every workload with every place in time.
        name = names[trial % len(names)]
        if done >= kills and name in hits:
            trial += 1
            continue
        workload = list(WORKLOADS)[(trial + trial // len(names)) % len(WORKLOADS)]
        document = documents[workload]
        assert isinstance(document, WorkflowDocument)
        visit = draw.choice(_VISITS) if name in hits else 1
        if workload not in expected:
            expected[workload] = WORKLOADS[workload].outputs or _undisturbed(document, WORKLOADS[workload])
        died = _trial(
            document, WORKLOADS[workload], expected[workload], (name, visit), draw, hits, violations, f"{seed}:{trial}"
        )
        done += died
        by_workload[workload] += died
        trial += 1
    return {
        "kills": done,
        "trials": trial,
        "failpoints": len(hits),
        "named": len(names),
        "never_hit": sorted(set(names) - set(hits)),
        "hits": dict(sorted(hits.items())),
        "by_workload": dict(by_workload),
        "violations": violations,
        "seconds": round(time.monotonic() - begin, 1),
    }


def _often(settings: EngineSettings) -> Limits:
    del settings
    return Limits(snapshot_records=4, snapshot_at_rest=2)


def _trial(
    document: WorkflowDocument,
    workload: Workload,
    expected: dict[str, Any],
    place: tuple[str, int],
    draw: random.Random,
    hits: Counter[str],
    violations: list[str],
    label: str,
) -> int:
    folder = Path(tempfile.mkdtemp(prefix="kos-proof-"))
    store, ledger, acknowledged = folder / ".kos", folder / "ledger", folder / "acknowledged"
    died = 0
    try:
        name = place[0]
        plan: tuple[str, int] | None = ("append.after", 3) if name in _LATER else place
        for _ in range(12):
            status = _life(store, ledger, acknowledged, document, workload, plan)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                died += 1
                assert plan is not None
                hits[plan[0]] += 1
                again = draw.random() < 0.3
                plan = (draw.choice(failpoint.NAMES), draw.randint(1, 20)) if again else None
                if name in _LATER and died == 1:
                    plan = (name, 1)
                continue
            if status != 0:
                if plan is None or os.waitstatus_to_exitcode(status) not in {0}:
                    violations.append(f"{label}: a process ended with {os.waitstatus_to_exitcode(status)}, see stderr")
                break
            break
        else:
            violations.append(f"{label}: it never ended")
        violations += [f"{label}: {sentence}" for sentence in _judge(store, ledger, acknowledged, expected)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return died


def _life(
    store: Path, ledger: Path, acknowledged: Path, document: WorkflowDocument, workload: Workload,
    plan: tuple[str, int] | None,
) -> int:  # fmt: skip
    """Fork a process that owns the store until its run has ended; return its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            os.environ[LEDGER] = str(ledger)
            signal.alarm(_LIFETIME_S)
            if plan is not None:
                failpoint.plant(_killer(*plan))
            _drive(store, acknowledged, document, workload)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(3)
    return os.waitpid(pid, 0)[1]


def _killer(name: str, visit: int) -> Any:
    visits = 0

    def hook(place: str) -> None:
        nonlocal visits
        if place == name:
            visits += 1
            if visits >= visit:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(5)  # the signal is on its way: nothing more happens on this thread

    return hook


def _undisturbed(document: WorkflowDocument, workload: Workload) -> dict[str, Any]:
    """Return what comes of it when nobody is killed."""
    with tempfile.TemporaryDirectory(prefix="kos-proof-") as folder:
        store, acknowledged = Path(folder) / ".kos", Path(folder) / "acknowledged"
        status = _life(store, Path(folder) / "ledger", acknowledged, document, workload, None)
        if status != 0:
            raise AssertionError(f"{document.id} ended with {os.waitstatus_to_exitcode(status)} without a kill")
        engine = WorkflowEngine(store, settings=EngineSettings(), host="process")
        try:
            return dict(engine.result(acknowledged.read_text(), 1.0))
        finally:
            engine.close()


def _drive(store: Path, acknowledged: Path, document: WorkflowDocument, workload: Workload) -> None:
    settings = EngineSettings(agents=workload.agents)
    engine = WorkflowEngine(store, settings=settings, host="process", author="user:proof")
    handle: RunHandle = engine.start(document, key="proof", inputs=workload.inputs)
    acknowledged.write_text(handle.id)
    handle.result(timeout=_LIFETIME_S)
    engine.close()


def _judge(store: Path, ledger: Path, acknowledged: Path, expected: dict[str, Any]) -> list[str]:
    entries = []
    if ledger.exists():
        for line in ledger.read_text().splitlines():
            run, path, attempt, fence = line.split(" ")
            entries.append((run, path, int(attempt), int(fence)))
    created = [acknowledged.read_text()] if acknowledged.exists() and acknowledged.read_text() else []
    if not created:
        return ["the run was never acknowledged"]
    found = check_store(store, created=created, ledger=entries)
    engine = WorkflowEngine(store, settings=EngineSettings(), host="process")
    try:
        status = engine.get_workflow_status(created[0])
        if status != "completed":
            found.append(f"the run is {status}")
        elif (outputs := engine.result(created[0], 1.0)) != expected:
            found.append(f"the result is {outputs}, not {expected}")
    finally:
        engine.close()
    return found
