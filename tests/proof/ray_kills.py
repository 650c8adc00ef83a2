"""Real actors on a real local Ray, killed at every named place: the result is the same, and nothing completed runs again.

An owner with its Ray serves several trials. In each, one run is made, the partition's or an agent's process dies at the
n-th visit of a failpoint (``kos_runtime/actors/failpoints.py``), sometimes another after it, and the run must come to
its end all the same. What the owner leaves behind is given to the oracle.
"""

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from kos_runtime.actors.failpoints import VARIABLE
from kos_runtime.client.engine import RunWaits, WorkflowEngine
from kos_runtime.client.owner import is_owned, reach_owner
from kos_runtime.core import failpoint
from kos_runtime.core.errors import InvalidDefinition, KosError, NotFound
from kos_runtime.definition import EngineSettings, WorkflowDocument, load
from tests.oracle import check_store
from tests.proof.team import LEDGER

Place = tuple[str, str]
#: A role, a place, and at which visit of it.
Kill = tuple[str, str, int]

PLACES: Final[tuple[Place, ...]] = tuple((role, place) for role, names in failpoint.ON_RAY.items() for place in names)
#: An owner gives up a partition that dies seven times within a minute, and here they die on purpose.
MOST_DEATHS: Final = 5
#: After so many violations the rest is spared: where nothing works a trial takes as long as patience does.
MOST_VIOLATIONS: Final = 3
#: Of each trial, so many repetitions in which nobody comes to its place.
MOST_TRIES: Final = 3
_VISITS: Final = (1, 1, 2, 3, 5, 8)
_PATIENCE_S: Final = 90.0
_NEW_PARTITION: Final[Kill] = ("partition", "append.after", 20)
_NEW_AGENT: Final[Kill] = ("agent", "action.before", 1)
#: What only a successor comes to, and who has to die before there is one.
_AFTER: Final[dict[str, Kill]] = {
    **dict.fromkeys(("claim.before", "claim.after", "adopt.before", "adopt.after", "load.after"), _NEW_PARTITION),
    **dict.fromkeys(("inventory.before", "inventory.after"), _NEW_PARTITION),
    **dict.fromkeys(("start.before", "start.made", "join.before", "join.after"), _NEW_AGENT),
    **dict.fromkeys(("prepare.before", "prepare.after"), _NEW_AGENT),
}

#: What the person answers.
ANSWER: Final = 7
_AGENT: Final = '"tests.proof.team:Worker"'
#: A plan, parts gathered side by side, a large value that only an agent's blob can hold, a step that is long for its
#: neighbours, a loop whose log is worth a snapshot when a person is asked, and many items at once. The pad becomes a blob
#: of the partition's own.
WORKFLOW: Final = f"""
workflow:
  id: everything
  inputs: [{{name: n, type: integer}}, {{name: pad, type: string}}]
  outputs: [{{name: total, type: integer}}, {{name: counted, type: integer}}, {{name: asked, type: integer}}, {{name: pages, type: array}}]
  steps:
    - {{id: planning, agent: {_AGENT}, action: numbers, inputs: {{n: $inputs.n}}, outputs: {{plan: items}}}}
    - id: gathering
      agent: {_AGENT}
      action: gather
      parallel: true
      inputs: {{plan: $steps.planning.plan}}
      outputs: {{raw: data, sources: sources}}
    - {{id: synthesis, agent: {_AGENT}, action: count, inputs: {{data: $steps.gathering.raw, sources: $steps.gathering.sources}}, outputs: {{counted: total}}}}
    - {{id: writing, agent: {_AGENT}, action: pages, inputs: {{plan: $steps.planning.plan}}, outputs: {{pages: pages}}}}
    - {{id: nap, agent: {_AGENT}, action: nap, inputs: {{ms: 150}}}}
    - id: turns
      loop:
        body: [{{id: a, agent: {_AGENT}, action: square, inputs: {{v: $loop.index}}, outputs: {{y: y}}}}]
        loop_condition: $loop.index < 70
        max_iterations: 100
    - {{id: ask, agent: {_AGENT}, action: flaky, inputs: {{v: 1, fails: 9}}, outputs: {{asked: y}}}}
    - id: each
      for_each: {{in: $steps.planning.plan, as: v}}
      agent: {_AGENT}
      action: square
      inputs: {{v: $v}}
      outputs: {{y: y}}
    - {{id: sum, agent: {_AGENT}, action: total, inputs: {{ys: $steps.each.y}}, outputs: {{total: total}}}}
  error_handling:
    - {{step: ask, on_failure: manual}}
"""


def run(trials: int, seed: int, *, places: tuple[Place, ...] = PLACES) -> dict[str, Any]:
    """Have so many trials, each at another place, in an order drawn by the seed; return what was seen.

    ``violations`` are sentences with the trial that shows each, ``seed:trial``; ``never_hit`` are places that were tried
    and not come to.
    """
    draw = random.Random(seed)
    order = list(places)
    draw.shuffle(order)
    hits: Counter[str] = Counter()
    violations: list[str] = []
    begin = time.monotonic()
    trial = owners = again = 0
    while trial < trials and len(violations) < MOST_VIOLATIONS:
        owners += 1
        with owned() as life:
            while trial < trials and life.deaths < MOST_DEATHS and not life.problems:
                visit = 1 if trial < len(order) else draw.choice(_VISITS)
                kills = [(*order[trial % len(order)], visit)]
                if draw.random() < 0.3:
                    kills.append((*draw.choice(PLACES), draw.choice(_VISITS)))
                life.trial(f"{seed}:{trial}" + "r" * again, *with_predecessors(kills))
                came = _name(order[trial % len(order)]) in life.hits + hits
                if came or again >= MOST_TRIES:
                    trial, again = trial + 1, 0
                else:
                    # Where another process took over what the dead one had, nobody had to come there.
                    again += 1
            hits.update(life.hits)
            violations += life.violations()
    return {
        "kills": hits.total(),
        "trials": trial,
        "owners": owners,
        "places": len(hits),
        "named": len(PLACES),
        "never_hit": sorted({_name(place) for place in order[:trial]} - set(hits)),
        "hits": dict(sorted(hits.items())),
        "violations": violations,
        "seconds": round(time.monotonic() - begin, 1),
    }


def _name(place: Place) -> str:
    return f"{place[0]} {place[1]}"


def with_predecessors(kills: Sequence[Kill]) -> list[Kill]:
    """Return kills with those put before them that it takes until anybody comes to their places."""
    return [each for kill in kills for each in (*filter(None, [_AFTER.get(kill[1])]), kill)]


def expected(n: int) -> dict[str, Any]:
    """Return what comes of the workflow for so many items."""
    return {
        "total": sum(v * v for v in range(n)),
        "counted": sum(range(n)) * 1_000 + n,
        "asked": ANSWER,
        "pages": [f"{v} of {n} " * 200 for v in range(n)],
    }


class Life:
    """One owner with its Ray, in a folder, and the trials that it served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.ledger, self.plans = folder / ".kos", folder / "ledger", folder / "plans"
        self.plans.mkdir()
        self.engine = WorkflowEngine(self.store, settings=EngineSettings(ray_dashboard=False), author="user:proof")
        document = load(WORKFLOW, "everything.yaml")
        assert isinstance(document, WorkflowDocument)
        self.document = document
        self.hits: Counter[str] = Counter()
        self.deaths = 0
        self.problems: list[str] = []
        self._labels: dict[str, str] = {}

    def trial(self, label: str, *kills: Kill) -> None:
        """Have one run in which processes die, one after the other, as (role, place, visit) say."""
        plan = self.plans / "plan"
        part = self.plans / "plan.part"
        part.write_text(
            "".join(f"{role} {place} {visit} {label}.{n}\n" for n, (role, place, visit) in enumerate(kills))
        )
        part.rename(plan)
        n = 40 + len(self._labels)
        try:
            outputs = self._go_through(label, n)
        except (KosError, TimeoutError) as error:
            # Both may have hit the process of one step, the second while it ran alone: that is what poison means.
            twice = sum(role == "agent" for role, *_ in kills) > 1
            if not (twice and "poison: " in str(error)):
                self.problems.append(f"{label} {kills}: {type(error).__name__}: {error}")
        else:
            if outputs != expected(n):
                self.problems.append(
                    f"{label} {kills}: the result is {str(outputs)[:500]}, not what comes without kills"
                )
        with contextlib.suppress(FileNotFoundError):
            plan.unlink()
        self._count()

    def _go_through(self, label: str, n: int) -> dict[str, Any]:
        inputs = {"n": n, "pad": f"{label} " * 6_000}
        deadline = time.monotonic() + _PATIENCE_S
        run = self._until(deadline, lambda: self.engine.start(self.document, key=label, inputs=inputs).id)
        self._labels[run] = label
        while True:
            try:
                return dict(self.engine.result(run, timeout=deadline - time.monotonic()))
            except RunWaits:
                self._until(deadline, lambda: self._answer(run))

    def _answer(self, run: str) -> None:
        # The answer to an earlier try may have been lost on its way: then nothing waits any more.
        with contextlib.suppress(NotFound, InvalidDefinition):
            self.engine.answer(run, "ask", {"y": ANSWER})

    def _until(self, deadline: float, ask: Callable[[], Any]) -> Any:
        """Ask until an answer comes: the partition may die of the very request."""
        while True:
            try:
                return ask()
            except (NotFound, InvalidDefinition):
                raise
            except KosError:
                if time.monotonic() > deadline:
                    raise
                # Where the owner itself has ended, the next request finds or starts another.
                self.engine.close()
                time.sleep(0.1)

    def _count(self) -> None:
        """Count who died, and see that they did."""
        for left in list(self.plans.glob("killed-*")):
            role, place, *_ = left.read_text().split()
            pid = int(left.name.partition("-")[2])
            end = time.monotonic() + 10
            while Path(f"/proc/{pid}").exists() and _state(pid) not in "ZX":
                if time.monotonic() > end:
                    self.problems.append(f"process {pid} lives on after {role} {place}")
                    break
                time.sleep(0.02)
            self.hits[f"{role} {place}"] += 1
            self.deaths += role == "partition"
            left.unlink()

    def visited(self) -> set[str]:
        """Return every place that a process came to, as ``role place``."""
        return {" ".join(left.name.split("-")[1:]) for left in self.plans.glob("visited-*")}

    def violations(self) -> list[str]:
        """Return what was wrong in any trial, and what the oracle finds in the whole history."""
        entries = []
        if self.ledger.exists():
            for line in self.ledger.read_text().splitlines():
                run, path, attempt, fence = line.split(" ")
                entries.append((run, path, int(attempt), int(fence)))
        found = check_store(self.store, created=list(self._labels), ledger=entries)
        labels = " ".join(f"{label}={run}" for run, label in self._labels.items())
        return [*self.problems, *(f"{sentence} ({labels})" for sentence in found)]

    def close(self) -> None:
        with contextlib.suppress(Exception):
            channel = reach_owner(self.store)
            if channel is not None:
                channel.request({"op": "stop"}, 30.0)
                channel.close()
        self.engine.close()
        end = time.monotonic() + 30
        while is_owned(self.store) and time.monotonic() < end:
            time.sleep(0.05)


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat[stat.rindex(")") + 2]
    return "X"


@contextlib.contextmanager
def owned() -> Iterator[Life]:
    """Give a life whose owner finds in its environment where to look for plans, and leave nothing of it behind."""
    folder = Path(tempfile.mkdtemp(prefix="kos-ray-"))
    before = {name: os.environ.get(name) for name in (VARIABLE, LEDGER)}
    os.environ.update({VARIABLE: str(folder / "plans"), LEDGER: str(folder / "ledger")})
    life = Life(folder)
    try:
        yield life
    finally:
        life.close()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    print(run(len(PLACES), 1))
