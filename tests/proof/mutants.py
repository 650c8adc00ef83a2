"""Planted bugs: each is one line of shipped code, changed. The oracle must find every one in whole-engine runs.

``python -m tests.proof.mutants NAME`` runs one and prints what it was caught by. A mutant lives in a process of its own,
whose importer changes the line; nothing on disk is touched.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
#: A mutant is looked for in so many worlds.
BUDGET: Final = 600
#: A process that hunts one may take so long, in seconds.
PATIENCE_S: Final = 400


@dataclass(frozen=True, slots=True)
class Mutant:
    """``before`` stands once in ``module``; ``says`` is what the change amounts to."""

    name: str
    module: str
    before: str
    after: str
    says: str

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")

    def source(self) -> str:
        text = self.path.read_text(encoding="utf-8")
        count = text.count(self.before)
        if count != 1:
            raise LookupError(f"the line of the mutant {self.name} stands {count} times in {self.module}")
        return text.replace(self.before, self.after)


_PARTITION: Final = "kos_runtime.engine.partition"
MUTANTS: Final = (
    Mutant(
        "any-fence", "kos_runtime.core.workflow.decide",
        "    if run.open.get(path) != result.fence:\n        if is_about_mail(path)", "    if path not in run.open:\n        if is_about_mail(path)",
        "an answer under an older fence is taken",
    ),
    Mutant(
        "again-without-authority", "kos_runtime.core.workflow.dispatching",
        "    if step.node.authority and not _is_allowed(desk, step, owner, own_index, path):\n        return True\n    attempt = ",
        "    if step.node.authority and not step.fence and not _is_allowed(desk, step, owner, own_index, path):\n        return True\n    attempt = ",
        "what is sent again needs no authority",
    ),
    Mutant(
        "authority-of-yesterday", "kos_runtime.core.workflow.granting",
        "instance.machine.decide(instance.state, stimulus, desk.now)", "instance.machine.decide(instance.state, stimulus, desk.now - 20_000)",
        "a grant that is over still allows something",
    ),
    Mutant(
        "fence-stays", "kos_runtime.core.workflow.dispatching",
        "else max(0 if at is None else at.fence, run.fences) + 1", "else max(0 if at is None else at.fence, run.fences + 1)",
        "another process gets the same fence",
    ),
    Mutant(
        "one-retry-more", "kos_runtime.core.workflow.failing",
        'case "retry" if error.recoverable and step.retries < policy.max_retries:',
        'case "retry" if error.recoverable and step.retries <= policy.max_retries:',
        "one attempt more than the policy says",
    ),
    Mutant(
        "one-turn-more", "kos_runtime.core.workflow.progress",
        "    elif turn < form.max_iterations:\n", "    elif turn <= form.max_iterations:\n",
        "a loop takes one turn more than it may",
    ),
    Mutant(
        "one-item-more", "kos_runtime.core.workflow.state",
        "(self.limit <= 0 or self.open < self.limit)", "(self.limit <= 0 or self.open <= self.limit)",
        "one item more than max_concurrency runs at once",
    ),
    Mutant(
        "starts-while-paused", "kos_runtime.core.workflow.progress",
        "    if run.paused is not None or run.cancelling is not None:\n", "    if run.cancelling is not None:\n",
        "a paused run starts steps",
    ),
    Mutant(
        "oldest-undone-first", "kos_runtime.core.workflow.compensating",
        "ev.CompensationStarted(outcome, list(reversed(run.undo)),", "ev.CompensationStarted(outcome, list(run.undo),",
        "what was completed first is undone first",
    ),
    Mutant(
        "early-timers", _PARTITION,
        "while self._timers and self._timers[0][0] <= self.time:", "while self._timers and self._timers[0][0] <= self.time + 500:",
        "a timer fires half a second early",
    ),
    Mutant(
        "log-time-goes-back", _PARTITION,
        "self.time = self.pools.now = self.recorder.time = max(self.time, now)", "self.time = self.pools.now = self.recorder.time = now - 40",
        "an owner's time is behind that of the one before it",
    ),
    Mutant(
        "refused-and-done", "kos_runtime.engine.host",
        "            return self._stall(error, batch, now)\n", "            return partition.advance(ready)\n",
        "what a refused append decided is done all the same",
    ),
    Mutant(
        "before-its-turn", "kos_runtime.core.workflow.evolve",
        "        if left == 0 and not scope.body.nodes[dependent].step.on_demand:\n",
        "        if left <= 1 and not scope.body.nodes[dependent].step.on_demand:\n",
        "a step starts when all but one of those before it are over",
    ),
    Mutant(
        "one-member-more", "kos_runtime.core.workflow.progress",
        "    if group.max_concurrency and scope.active >= group.max_concurrency:\n",
        "    if group.max_concurrency and scope.active > group.max_concurrency:\n",
        "one member of a group more than may runs at once",
    ),
    Mutant(
        "link-of-no-epoch", "kos_runtime.engine.recorder",
        "self.link = batch_link(self.link, self.epoch, first, count, root)", "self.link = batch_link(self.link, 1, first, count, root)",
        "the chain does not cover who wrote a commit",
    ),
    Mutant(
        "early-waits", "kos_runtime.engine.clocks",
        "self._durations[0][0] <= now and", "self._durations[0][0] <= now + 400 and",
        "a wait is over before its time",
    ),
    Mutant(
        "not-recovered", "kos_runtime.engine.host",
        "                partition.recover(row.run)\n", "                pass\n",
        "a new owner leaves runs at work where they were",
    ),
    Mutant(
        "open-for-ever", "kos_runtime.core.workflow.evolve",
        "    run.open.pop(e.path, None)\n    run.agenda.pop(e.path, None)\n    if run.waits and", "    run.agenda.pop(e.path, None)\n    if run.waits and",
        "a failed attempt counts as still running",
    ),
)  # fmt: skip


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module with its line changed."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if name != self.mutant.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self.mutant.path))

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.source(), str(self.mutant.path), "exec"), module.__dict__)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Have a module that was not imported yet imported with its line changed."""
    assert mutant.module not in sys.modules, "the module was imported before it could be changed"
    importer = _Importer(mutant)
    sys.meta_path.insert(0, importer)
    try:
        yield
    finally:
        sys.meta_path.remove(importer)


def hunt(name: str, first: int, budget: int = BUDGET) -> dict[str, Any]:
    """Plant a mutant into this process, and return the seed and the sentence by which it was caught."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    with planted(mutant):
        from kos_runtime.testing.simulation import SEEDS_A_DEFINITION, whole_engine

        for number in range(budget):
            # Each world has another definition: a bug may need a form that few have.
            seed = first + number * (SEEDS_A_DEFINITION + 1)
            result = whole_engine(seed)
            if result.violations:
                return {"name": name, "caught": True, "seed": seed, "worlds": number + 1, "by": result.violations[0]}
    return {"name": name, "caught": False, "seed": 0, "worlds": budget, "by": ""}


def run(name: str, first: int, budget: int = BUDGET) -> dict[str, Any]:
    """Hunt a mutant in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof.mutants", name, str(first), str(budget)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"name": name, "caught": False, "seed": 0, "worlds": 0, "by": done.stderr[-500:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    given = sys.argv[1:]
    print(
        json.dumps(hunt(given[0], int(given[1]) if len(given) > 1 else 0, int(given[2]) if len(given) > 2 else BUDGET))
    )
