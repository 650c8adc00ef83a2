"""What each row catches, done: one line of the engine is changed in a process of its own, and the row's tests must fail.

``python -m tests.conformance.breaks`` does it for every row that has lines here, ``python -m tests.conformance.breaks 7 12``
for some. Rows 1, 2 and 15 to 18 break the engine in tests of their own. Nothing on disk is touched.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tests.proof.planting import Mutant, planted

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
PATIENCE_S: Final = 300
_WORKFLOW: Final = "kos_runtime.core.workflow."


class Break(NamedTuple):
    """``line`` stands once in ``module``; with ``instead`` in its place the tests of ``row`` fail."""

    row: int
    says: str
    module: str
    line: str
    instead: str

    def mutant(self) -> Mutant:
        return Mutant(f"row {self.row}: {self.says}", "engine", self.module, self.line, self.instead, self.says)


#: What brings a run back from its log, and what forgets one kind of event there.
_FOLDED: Final = "                for event in events:\n                    evolve(run, event)\n                run.position = position"


def _folded_without(event: str) -> str:
    return _FOLDED.replace("evolve(run, event)", f"type(event).__name__ == {event!r} or evolve(run, event)")


BREAKS: Final = (
    Break(3, "a run that fails in the place of the task", _WORKFLOW + "failing",
          "    else:\n        request_manual(desk, step, name, rule)\n",
          "    else:\n        desk.emit(ev.StepGaveUp(step.path, step.error or {}, rule))\n"),
    Break(3, "an answer that is not the step's result", _WORKFLOW + "evolve",
          "    step.exposed, step.blobs = e.exposed, e.blobs\n    _end(run, step, StepStatus.COMPLETED)\n\n\n# --- waiting",
          "    step.blobs = e.blobs\n    _end(run, step, StepStatus.COMPLETED)\n\n\n# --- waiting"),
    Break(3, "a task that is lost with its owner", "kos_runtime.engine.partition", _FOLDED, _folded_without("ManualTaskRequested")),
    Break(4, "a failure at the step that reads it", "kos_runtime.adapters.agent_runner.data",
          "            raise ActionFailed(ErrorType.VALIDATION, message)\n        value = value[part]", "            return None\n        value = value[part]"),
    Break(4, "one that is taken for not recoverable", "kos_runtime.core.failure", "ErrorType.VALIDATION: True", "ErrorType.VALIDATION: False"),
    Break(4, "a budget that is not counted", _WORKFLOW + "failing",
          'case "retry" if error.recoverable and step.retries < policy.max_retries:', 'case "retry" if error.recoverable and step.retries <= policy.max_retries:'),
    Break(5, "a null condition taken for false", _WORKFLOW + "progress",
          "    if value is None:\n        if form.default_path is None:", "    if value is None and reason:\n        if form.default_path is None:"),
    Break(5, "the default path taken only for errors", _WORKFLOW + "progress",
          "        if form.default_path is None:\n", "        if form.default_path is None or not reason:\n"),
    Break(5, "a path that starts at once", "kos_runtime.core.plan.program",
          "if not step.on_demand and not step.after)", "if not step.after)"),
    Break(6, "a condition that is asked after the turn", _WORKFLOW + "progress",
          "    if step.node.condition is not None:\n        view = View(desk.run, step.scope, step, turn=turn)",
          "    if step.node.condition is not None and turn:\n        view = View(desk.run, step.scope, step, turn=turn)"),
    Break(6, "a break that is looked at before the turn is over", _WORKFLOW + "progress",
          'ev.LoopEnded(step.path, step.turn + 1, f"break: {reason}")', 'ev.LoopEnded(step.path, step.turn, f"break: {reason}")'),
    Break(6, "a turn that is taken for over when its owner is gone", "kos_runtime.engine.partition", _FOLDED, _folded_without("TurnStarted")),
    Break(7, "results in the order in which they came", _WORKFLOW + "values",
          "results = fan.results.items() if as_completed else sorted(fan.results.items())", "results = fan.results.items()"),
    Break(7, "items beside one that failed that go on under fail_fast", _WORKFLOW + "progress",
          "    if fan.failures and _is_lost(step, fan):", "    if fan.failures and fan.is_over() and _is_lost(step, fan):"),
    Break(7, "a quorum that is rounded down", _WORKFLOW + "progress",
          "fan.count - ceil(form.quorum * fan.count - 1e-9)", "fan.count - int(form.quorum * fan.count)"),
    Break(8, "a key that leaves out the turn", _WORKFLOW + "evolve",
          'scope = _open_scope(run, f"{e.path}#{e.turn}", ', 'scope = _open_scope(run, f"{e.path}#0", '),
    Break(8, "a key that changes from one attempt to the next", _WORKFLOW + "dispatching",
          "        return idempotency_key(run.store_id, run.id, path, run.generation)\n",
          "        return idempotency_key(run.store_id, run.id, path, owner.attempt)\n"),
    Break(8, "a key that two steps share", _WORKFLOW + "dispatching",
          "        return idempotency_key(run.store_id, run.id, path, run.generation)\n",
          '        return idempotency_key(run.store_id, run.id, path.rpartition("/")[2], run.generation)\n'),
    Break(9, "a quorum that is rounded down", _WORKFLOW + "progress",
          "needed = ceil(form.quorum * len(members) - 1e-9)", "needed = int(form.quorum * len(members))"),
    Break(9, "a member that comes late and is waited for", _WORKFLOW + "progress",
          "    if done >= min(needed, len(members)):", "    if done >= min(needed, len(members)) and scope.remaining == 0:"),
    Break(9, "a member that failed and is counted as done", _WORKFLOW + "progress",
          "s.status in {StepStatus.COMPLETED, StepStatus.SKIPPED} for s in states", "s.status in OVER for s in states"),
    Break(10, "timers that are not stored", "kos_runtime.engine.recorder",
          "                batch.timers_set.append(row)\n                found.append", "                found.append"),
    Break(10, "a signal that is taken although it does not match", _WORKFLOW + "waits",
          "        return step.node.condition.evaluate(view) is True\n", "        return step.node.condition.evaluate(view) is not None\n"),
    Break(10, "a person who counts twice", _WORKFLOW + "people",
          'if any(by == command.by for by, *_ in what["votes"]):', "if not what:"),
    Break(11, "a parent that ends before the children that it called off", _WORKFLOW + "steering",
          "or run.cancelling is None or (run.children and _awaited(run)):", "or run.cancelling is None:"),
    Break(11, "a child that is cancelled although it was to be abandoned", _WORKFLOW + "steering",
          'for child, parent_close in run.children.values() if parent_close == "cancel"]', "for child, parent_close in run.children.values() if parent_close]"),
    Break(11, "a parent out of memory that does not hear of its child's end", "kos_runtime.engine.families",
          '        if run.parent is not None and run.status in TERMINAL and run.parent[4] != "detach":\n',
          "        if run.parent is not None and run.status in TERMINAL and run.parent[0] in self._partition.runs:\n"),
    Break(12, "undoing in the order of doing", _WORKFLOW + "compensating", "list(reversed(run.undo))", "list(run.undo)"),
    Break(12, "one that is dropped when it fails", "kos_runtime.definition.policies",
          'ladder=("retry", "manual"), max_retries=retries', 'ladder=("retry", "skip"), max_retries=retries'),
    Break(12, "a run that is over before all is undone", _WORKFLOW + "compensating",
          "    return True\n\n\ndef fail_run", "    return False\n\n\ndef fail_run"),
    Break(12, "undoing under the forward step's key", _WORKFLOW + "compensating", 'key=f"{forward_key}:undo"', "key=forward_key"),
    Break(13, "a rung that is left out", _WORKFLOW + "failing",
          'case "fallback" if policy.fallback is not None and', 'case "fallback" if policy.fallback is None and policy.fallback and'),
    Break(13, "a budget for each rung", _WORKFLOW + "failing",
          "                error.recoverable and step.retries < policy.max_retries and may_change_agent(desk, step)",
          "                error.recoverable and step.retries < 2 * policy.max_retries and may_change_agent(desk, step)"),
    Break(13, "a different agent that is the same", _WORKFLOW + "evolve",
          '    if e.then == "different_agent":\n        beside.avoid(step)\n    elif', '    if e.then == "different_agent":\n        pass\n    elif'),
    Break(14, "a completed step that changes", _WORKFLOW + "revising",
          '        if problem:\n            return problem\n    return ""\n', '        if problem and "completed" not in problem:\n            return problem\n    return ""\n'),
    Break(14, "an edge that is counted twice", _WORKFLOW + "revised",
          "id: sum(other not in over for other in node.step.after)", "id: 2 * sum(other not in over for other in node.step.after)"),
    Break(14, "a run that is taken over with the plan that it was created with", "kos_runtime.engine.partition", _FOLDED, _folded_without("PlanRevised")),
)  # fmt: skip


def caught(broken: Break) -> str:
    """Run a row's tests on the broken engine, in virtual time and in one process; return what failed, or why nothing did."""
    (file,) = HERE.glob(f"test_{broken.row:02}_*.py")
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.breaks", "--plant", str(BREAKS.index(broken)), str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    failed = re.findall(r"^FAILED \S+::(\S+)", done.stdout, re.MULTILINE)
    if failed:
        return f"caught by {failed[0]}"
    return f"NOT CAUGHT: {done.stdout[-300:]}{done.stderr[-300:]}"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--plant"]:
        import pytest

        with planted(BREAKS[int(arguments[1])].mutant()):
            return int(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", "-m", "not cluster", arguments[2]]))
    rows = {int(row) for row in arguments}
    wanted = [each for each in BREAKS if not rows or each.row in rows]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(caught, wanted))
    for broken, result in zip(wanted, found, strict=True):
        print(f"row {broken.row}, {broken.says}: {result}")
    return sum(result.startswith("NOT") for result in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
