"""The oracle: what must hold of every history, whatever was done to the processes that wrote it.

Each check has the number that ``docs/reliability.md`` gives it. A violation is a sentence that names run and place.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from kos_runtime.client.proof import verify_all
from kos_runtime.client.reading import Reading
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.program import Program
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.snapshot import FINGERPRINT, from_plain, to_plain
from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.waiting import waits_for

_TERMINAL = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunQuarantined)
_STEP_ENDS = (
    ev.StepCompleted, ev.ResultReused, ev.StepGaveUp, ev.StepSkipped, ev.ItemsJoined, ev.ConsensusReached, ev.GroupSettled, ev.LoopEnded, ev.DecisionEnded,
    ev.VariablesSet, ev.EventEmitted, ev.JoinReached, ev.ManualTaskAnswered, ev.ResultJoined,
)  # fmt: skip


def check_store(
    folder: Path, *, created: list[str], ledger: list[tuple[str, str, int, int]] | None = None
) -> list[str]:
    """Return every violation in a store.

    Args:
        folder: The store.
        created: Runs whose creation was acknowledged.
        ledger: (run, path, attempt, fence) of every execution of an action's body, in order.
    """
    reading = Reading(folder)
    try:
        found = _log(reading)
        rows = {row.run for row in reading.log.runs(limit=100_000)}
        found += [f"I3: run {run} was acknowledged and is not there" for run in created if run not in rows]
        found += _families(reading, rows)
        for run in sorted(rows):
            found += _run(reading, run, [entry[1:] for entry in ledger or () if entry[0] == run])
        return found
    finally:
        reading.close()


def _families(reading: Reading, rows: set[str]) -> list[str]:
    """Check that no run asks for a child that is not there, and that none waits for one that is over."""
    found = []
    for run in sorted(rows):
        waits: dict[str, str] = {}
        events = [line.event for line in reading.lines(run)]
        for event in events:
            match event:
                case ev.ChildRequested():
                    waits[event.path] = event.child
                    if event.child not in rows:
                        found.append(f"I21: run {run} asked for {event.child}, which is not there")
                case ev.ChildEnded() | ev.StepCancelled():
                    waits.pop(event.path, None)
                case ev.RunForked() | ev.RunRestored() | ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled():
                    waits.clear()
                case _:
                    pass
        row = reading.log.run(run)
        for path, child in waits.items() if row is not None and row.status != "quarantined" else ():
            other = reading.log.run(child)
            if other is not None and other.status in {"completed", "failed", "cancelled", "quarantined"}:
                found.append(f"I21: run {run} waits at {path} for {child}, which is {other.status}")
    return found


def _log(reading: Reading) -> list[str]:
    found = []
    proof = verify_all(reading)
    if not proof.ok:
        found.append(f"I15: {proof.problem}")
    offset = epoch = 0
    while records := reading.log.records(after=offset, limit=1_000):
        for record in records:
            if record.offset != offset + 1:
                found.append(f"I1: offset {record.offset} follows {offset}")
            if record.epoch < epoch:
                found.append(f"I2: epoch {record.epoch} follows {epoch} at offset {record.offset}")
            offset, epoch = record.offset, record.epoch
    return found


def _run(reading: Reading, run: str, ledger: list[tuple[str, int, int]]) -> list[str]:
    lines = list(reading.lines(run))
    events = [line.event for line in lines]
    found = [f"I1: run {run} position {b.seq} follows {a.seq}" for a, b in pairwise(lines)
             if b.seq not in {a.seq, a.seq + 1}]  # fmt: skip
    made = Counter(type(event) for event in events)
    if made[ev.RunCreated] != 1:
        found.append(f"I3: run {run} was created {made[ev.RunCreated]} times")
    lives = made[ev.RunReopened] + made[ev.RestoreBegun] + made[ev.RunRequeued] + 1
    ends = [place for place, event in enumerate(events) if isinstance(event, _TERMINAL)]
    followed = [
        place
        for place in ends
        if place != len(events) - 1
        and not isinstance(events[place + 1], ev.RunReopened | ev.RestoreBegun | ev.RunRequeued | ev.RunQuarantined)
    ]
    if len(ends) > lives or followed:
        found.append(f"I4: run {run} has {len(ends)} ends, at {ends} of {len(events)}")
    found += _fences(run, events)
    found += _states(reading, run, lines)
    found += _attempts(reading, run, events)
    if ledger:
        found += _executions(run, lines, ledger)
    return found


def _fences(run: str, events: list[Any]) -> list[str]:
    found = []
    open_: dict[str, int] = {}
    over: Counter[str] = Counter()
    halted = ""
    for event in events:
        match event:
            case ev.RunPaused() | ev.CancelRequested():
                halted = type(event).__name__
            case ev.RunResumed() | ev.CompensationStarted():
                # What undoes the steps of a run that was called off is started after that.
                halted = ""
            case ev.RunReopened(path=path):
                # What did not complete is done again, an item, part or turn as a whole.
                again = [key for key in over if key.startswith(path) or path.startswith(key)]
                over.subtract({key: over[key] for key in again})
            case ev.RestoreBegun():
                open_.clear()
                over.clear()
                halted = ""
            case ev.RunForked() | ev.RunRestored():
                # What was at work belongs to the run that was, and is given out anew.
                open_.clear()
                halted = ""
            case ev.StepScheduled(path=path, fence=fence):
                if halted:
                    found.append(f"I9: run {run} started {path} after {halted}")
                if over[path]:
                    found.append(f"I6: run {run} started {path} after it was over")
                open_[path] = fence
            case ev.StepCompleted(path=path, fence=fence):
                if open_.pop(path, None) != fence:
                    found.append(f"I5: run {run} completed {path} under fence {fence}, which was not open")
            case ev.StepFailed(path=path, fence=fence):
                if path in open_ and open_.pop(path) != fence:
                    found.append(f"I5: run {run} failed {path} under fence {fence}, which was not open")
            case ev.StepRedispatched(path=path) | ev.StepCancelled(path=path):
                open_.pop(path, None)
            case _:
                pass
        if isinstance(event, _STEP_ENDS):
            over[event.path] += 1
    found += [f"I6: run {run} ended {path} {count} times" for path, count in over.items() if count > 1]
    return found


def _states(reading: Reading, run: str, lines: list[Any]) -> list[str]:
    """Fold the run, checking that it can be folded and always waits for something; compare its snapshot."""
    found: list[str] = []
    created = next(line.event for line in lines if isinstance(line.event, ev.RunCreated))
    linked = next(line.event for line in lines if isinstance(line.event, ev.RunLinked))
    state = Run(run, reading.log.store_id, reading.codec)
    state.program, state.link = Program(reading.plan(created.plan), created.plan), reading.link(linked.link)
    state.plans, state.links = {created.plan: state.program}, {linked.link: state.link}
    row = reading.log.snapshot(run_stream(run))
    for place, line in enumerate(lines):
        if isinstance(line.event, ev.StepScheduled):
            found += _started_early(run, state, line.event)
        if isinstance(line.event, ev.PlanRevised):
            state.plans[line.event.plan] = Program(reading.plan(line.event.plan), line.event.plan)
            state.links[line.event.link] = reading.link(line.event.link)
        try:
            evolve(state, line.event)
        except Exception as error:
            return [*found, f"I12: run {run} cannot be folded at seq {line.seq}: {error}"]
        last = place == len(lines) - 1 or lines[place + 1].seq != line.seq
        if not last:
            continue
        state.position = line.seq
        if state.status == "running" and not waits_for(state):
            found.append(f"I20: run {run} waits for nothing at seq {line.seq}")
        if row is not None and row.position == line.seq and row.fingerprint == FINGERPRINT:
            again = Run(run, reading.log.store_id, reading.codec)
            again.program, again.link = state.program, state.link
            again.plans, again.links = state.plans, state.links
            from_plain(again, reading.codec.unpack(row.state))
            if to_plain(again) != to_plain(state):
                found.append(f"I13: the snapshot of run {run} at seq {line.seq} is not its fold")
            if row.hash != _hash_at(reading, run, line.seq):
                found.append(f"I15: the snapshot of run {run} stands on another record")
    return found


def _hash_at(reading: Reading, run: str, position: int) -> bytes:
    (record,) = reading.log.stream(run_stream(run), after=position - 1, limit=1)
    return record.hash


def _started_early(run: str, state: Run, event: ev.StepScheduled) -> list[str]:
    step = state.steps.get(event.path)
    if step is None or step.ask_of or event.attempt > 1:
        return []
    found = []
    for id in step.node.step.after:
        before = state.steps.get(step.scope.step_path(id))
        if before is None or before.status not in {"completed", "skipped"}:
            found.append(f"I7: run {run} started {event.path} before {id} was over")
    if state.status != "running":
        found.append(f"I9: run {run} started {event.path} while it was {state.status}")
    return found


def _attempts(reading: Reading, run: str, events: list[Any]) -> list[str]:
    del reading
    found = []
    retries: Counter[str] = Counter()
    for event in events:
        if isinstance(event, ev.RetryScheduled):
            retries[event.path] += 1
        if isinstance(event, ev.StepScheduled) and event.attempt > event.fence:
            found.append(f"I8: run {run} counts attempt {event.attempt} of {event.path} under fence {event.fence}")
    found += [f"I8: run {run} retried {path} {count} times" for path, count in retries.items() if count > 100]
    return found


def _executions(run: str, lines: list[Any], ledger: list[tuple[str, int, int]]) -> list[str]:
    """Compare what the log says with what was really executed."""
    found = []
    dispatched = {(e.path, e.fence) for line in lines if isinstance(e := line.event, ev.StepScheduled)}
    executed = Counter((path, fence) for path, _, fence in ledger)
    for (path, fence), count in executed.items():
        if (path, fence) not in dispatched:
            found.append(f"I14: run {run} executed {path} under fence {fence}, which the log does not know")
        if count > 1:
            found.append(f"I14: run {run} executed {path} under fence {fence} {count} times")
    completed = {e.path: e.fence for line in lines if isinstance(e := line.event, ev.StepCompleted)}
    for path, _, fence in ledger:
        if path in completed and fence > completed[path]:
            found.append(f"I14: run {run} executed {path} again (fence {fence}) after it was completed")
    return found
