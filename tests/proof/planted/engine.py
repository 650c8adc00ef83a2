"""Bugs planted into the engine: deciding, folding, recording, giving out work."""

from typing import Final

from tests.proof.planting import Mutant

_PARTITION: Final = "kos_runtime.engine.partition"
MUTANTS: Final = (
    Mutant(
        "any-fence", "engine", "kos_runtime.core.workflow.decide",
        "    if run.open.get(path) != result.fence:\n        if is_about_mail(path)", "    if path not in run.open:\n        if is_about_mail(path)",
        "an answer under an older fence is taken",
    ),
    Mutant(
        "again-without-authority", "engine", "kos_runtime.core.workflow.dispatching",
        "    if step.node.authority and not _is_allowed(desk, step, owner, own_index, path):\n        return True\n    attempt = ",
        "    if step.node.authority and not step.fence and not _is_allowed(desk, step, owner, own_index, path):\n        return True\n    attempt = ",
        "what is sent again needs no authority",
    ),
    Mutant(
        "authority-of-yesterday", "engine", "kos_runtime.core.workflow.granting",
        "instance.machine.decide(instance.state, stimulus, desk.now)", "instance.machine.decide(instance.state, stimulus, desk.now - 20_000)",
        "a grant that is over still allows something",
    ),
    Mutant(
        "fence-stays", "engine", "kos_runtime.core.workflow.dispatching",
        "else max(0 if at is None else at.fence, run.fences) + 1", "else max(0 if at is None else at.fence, run.fences + 1)",
        "another process gets the same fence",
    ),
    Mutant(
        "one-retry-more", "engine", "kos_runtime.core.workflow.failing",
        'case "retry" if error.recoverable and step.retries < policy.max_retries:',
        'case "retry" if error.recoverable and step.retries <= policy.max_retries:',
        "one attempt more than the policy says",
    ),
    Mutant(
        "one-turn-more", "engine", "kos_runtime.core.workflow.progress",
        "    elif turn < form.max_iterations:\n", "    elif turn <= form.max_iterations:\n",
        "a loop takes one turn more than it may",
    ),
    Mutant(
        "one-item-more", "engine", "kos_runtime.core.workflow.state",
        "(self.limit <= 0 or self.open < self.limit)", "(self.limit <= 0 or self.open <= self.limit)",
        "one item more than max_concurrency runs at once",
    ),
    Mutant(
        "starts-while-paused", "engine", "kos_runtime.core.workflow.progress",
        "    if run.paused is not None or run.cancelling is not None:\n", "    if run.cancelling is not None:\n",
        "a paused run starts steps",
    ),
    Mutant(
        "oldest-undone-first", "engine", "kos_runtime.core.workflow.compensating",
        "ev.CompensationStarted(outcome, list(reversed(run.undo)),", "ev.CompensationStarted(outcome, list(run.undo),",
        "what was completed first is undone first",
    ),
    Mutant(
        "early-timers", "engine", _PARTITION,
        "while self._timers and self._timers[0][0] <= self.time:", "while self._timers and self._timers[0][0] <= self.time + 500:",
        "a timer fires half a second early",
    ),
    Mutant(
        "refused-and-done", "engine", "kos_runtime.engine.host",
        "            return self._stall(error, batch, now)\n", "            return partition.advance(ready)\n",
        "what a refused append decided is done all the same",
    ),
    Mutant(
        "before-its-turn", "engine", "kos_runtime.core.workflow.evolve",
        "        if left == 0 and not scope.body.nodes[dependent].step.on_demand:\n",
        "        if left <= 1 and not scope.body.nodes[dependent].step.on_demand:\n",
        "a step starts when all but one of those before it are over",
    ),
    Mutant(
        "one-member-more", "engine", "kos_runtime.core.workflow.progress",
        "    if group.max_concurrency and scope.active >= group.max_concurrency:\n",
        "    if group.max_concurrency and scope.active > group.max_concurrency:\n",
        "one member of a group more than may runs at once",
    ),
    Mutant(
        "link-of-no-epoch", "engine", "kos_runtime.engine.recorder",
        "self.link = batch_link(self.link, self.epoch, first, count, root)", "self.link = batch_link(self.link, 1, first, count, root)",
        "the chain does not cover who wrote a commit",
    ),
    Mutant(
        "early-waits", "engine", "kos_runtime.engine.clocks",
        "self._durations[0][0] <= now and", "self._durations[0][0] <= now + 400 and",
        "a wait is over before its time",
    ),
    Mutant(
        "open-for-ever", "engine", "kos_runtime.core.workflow.evolve",
        "    run.open.pop(e.path, None)\n    run.agenda.pop(e.path, None)\n    if run.waits and", "    run.agenda.pop(e.path, None)\n    if run.waits and",
        "a failed attempt counts as still running",
    ),
)  # fmt: skip
