"""The oracle: what must hold of every history, whatever was done to the processes that wrote it.

Each check has the number that ``docs/reliability.md`` gives it. A violation is a sentence that names run and place.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.event import UnknownEvent, rebuild
from kos_runtime.core.evidence import Evidence
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Consensus, ForEach, Group, Loop, Plan
from kos_runtime.core.plan.plain import from_plain as plan_from_plain
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import Record, SnapshotRow
from kos_runtime.core.verify import verify_partition
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.snapshot import FINGERPRINT, from_plain, to_plain
from kos_runtime.core.workflow.state import FENCES_A_LIFE, Codec, Run, StepState
from kos_runtime.core.workflow.waiting import waits_for
from kos_runtime.engine.host import Host
from kos_runtime.ports.event_store import LogReader
from kos_runtime.testing.authority_oracle import check_authority, unallowed
from kos_runtime.testing.coordination_oracle import check_coordination
from kos_runtime.testing.message_oracle import check_messages
from kos_runtime.testing.peers import contradictions
from kos_runtime.testing.situations import situations

#: (path, attempt, fence) of an execution of an action's body.
Execution = tuple[str, int, int]

_TERMINAL: Final = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunQuarantined)
_STEP_ENDS: Final = (
    ev.StepCompleted, ev.ResultReused, ev.StepGaveUp, ev.StepSkipped, ev.ItemsJoined, ev.ConsensusReached, ev.GroupSettled, ev.LoopEnded, ev.DecisionEnded,
    ev.VariablesSet, ev.EventEmitted, ev.JoinReached, ev.ManualTaskAnswered, ev.ResultJoined,
)  # fmt: skip
_PAGE: Final = 1_000


class Blobs(Protocol):
    def get(self, digest: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One event with its place: ``seq`` is the position of its record in the run."""

    seq: int
    offset: int
    time: int
    event: Any


@dataclass(slots=True)
class Library:
    """The plans and links of a store, unpacked; by digest. What is read once may serve many checks."""

    blobs: Blobs
    codec: Codec
    programs: dict[str, Program]
    links: dict[str, Link]

    @classmethod
    def of(cls, blobs: Blobs, codec: Codec) -> "Library":
        return cls(blobs, codec, {}, {})

    def program(self, digest: str) -> Program:
        if digest not in self.programs:
            plain = self.codec.unpack(self.blobs.get(digest))
            self.programs[digest] = Program(plan_from_plain(plain, Plan), digest)
        return self.programs[digest]

    def link(self, digest: str) -> Link:
        if digest not in self.links:
            self.links[digest] = plan_from_plain(self.codec.unpack(self.blobs.get(digest)), Link)
        return self.links[digest]


def check_history(
    log: LogReader,
    library: Library,
    *,
    evidence: Evidence | None = None,
    created: Iterable[str] = (),
    ledger: Sequence[tuple[str, str, int, int]] | None = None,
    acknowledged: Iterable[str] = (),
    seen: Counter[str] | None = None,
) -> list[str]:
    """Return every violation in one partition's log.

    Args:
        log: The log.
        library: What reads its plans and links.
        evidence: Its rows, to check the chains; None where that was done.
        created: Runs whose creation was acknowledged.
        ledger: (run, path, attempt, fence) of every execution of an action's body, in order.
        acknowledged: Ids of commands that change a run and were answered with success.
        seen: Counts what is rare (``testing.situations``) and was come upon.
    """
    make_installed_known()
    found: list[str] = []
    if evidence is not None:
        verdict = verify_partition(evidence)
        if verdict.first_bad is not None:
            found.append(f"I15: {verdict.first_bad}")
    records = _records(log)
    found += _order(records)
    by_run: dict[str, list[Record]] = {}
    for record in records:
        if record.stream.startswith("run/"):
            by_run.setdefault(record.stream[4:], []).append(record)
    rows = {row.run for row in log.runs(limit=1_000_000)}
    found += [f"I3: run {run} was acknowledged and is not there" for run in created if run not in rows]
    found += [f"I3: command {id} was acknowledged and is not there" for id in acknowledged if log.command(id) is None]
    found += _families(log, library, sorted(rows), by_run)
    executed: dict[str, list[Execution]] = {}
    for run, path, attempt, fence in ledger or ():
        executed.setdefault(run, []).append((path, attempt, fence))
    for run in sorted(rows):
        found += _run(log, library, run, by_run.get(run, []), executed.get(run, []), seen)
    found += [f"I14: run {run} executed something and is not there" for run in sorted(executed.keys() - rows)]
    return found


def _families(log: LogReader, library: Library, runs: list[str], records: dict[str, list[Record]]) -> list[str]:
    """Check that no run asks for a child that is not there, and that none waits for one that is over."""
    found = []
    for run in runs:
        its = records.get(run, [])
        if not any("child_requested." in record.names for record in its):
            continue
        waits: dict[str, str] = {}
        for line in lines_of(its, library.codec) or []:
            match line.event:
                case ev.ChildRequested(path=path, child=child):
                    waits[path] = child
                    if log.run(child) is None:
                        found.append(f"I21: run {run} asked for {child}, which is not there")
                case ev.ChildEnded(path=path) | ev.StepCancelled(path=path):
                    waits.pop(path, None)
                case ev.RunForked() | ev.RunRestored() | ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled():
                    waits.clear()
                case _:
                    pass
        row = log.run(run)
        for path, child in waits.items() if row is not None and row.status != "quarantined" else ():
            other = log.run(child)
            if other is not None and other.status in {"completed", "failed", "cancelled", "quarantined"}:
                found.append(f"I21: run {run} waits at {path} for {child}, which is {other.status}")
    return found


def _records(log: LogReader) -> list[Record]:
    found: list[Record] = []
    while page := log.records(after=found[-1].offset if found else 0, limit=_PAGE):
        found += page
    return found


def _order(records: list[Record]) -> list[str]:
    found = []
    offset = epoch = time = 0
    for record in records:
        if record.offset != offset + 1:
            found.append(f"I1: offset {record.offset} follows {offset}")
        if record.epoch < epoch:
            found.append(f"I2: epoch {record.epoch} follows {epoch} at offset {record.offset}")
        if record.time < time:
            found.append(f"I2: log time goes back at offset {record.offset}")
        offset, epoch, time = record.offset, record.epoch, record.time
    return found


def lines_of(records: Iterable[Record], codec: Codec) -> list[Line] | None:
    """Return the events of some records; None when payloads of them are gone or cannot be read."""
    lines: list[Line] = []
    for record in records:
        if not record.payload:
            return None
        try:
            events = rebuild(record.names, codec.unpack(record.payload))
        except (UnknownEvent, ValueError):
            return None
        lines += [Line(record.position, record.offset, record.time, event) for event in events]
    return lines


def _run(
    log: LogReader,
    library: Library,
    run: str,
    records: list[Record],
    ledger: list[Execution],
    seen: Counter[str] | None = None,
) -> list[str]:
    found = [f"I1: run {run} position {record.position} stands at {place}"
             for place, record in enumerate(records, 1) if record.position != place]  # fmt: skip
    lines = lines_of(records, library.codec)
    if lines is None:
        return found
    events = [line.event for line in lines]
    made = Counter(map(type, events))
    if made[ev.RunCreated] != 1:
        found.append(f"I3: run {run} was created {made[ev.RunCreated]} times")
        return found
    lives = made[ev.RunReopened] + made[ev.RestoreBegun] + made[ev.RunRequeued] + 1
    ends = [place for place, event in enumerate(events) if isinstance(event, _TERMINAL)]
    followed = [
        place
        for place in ends
        if place != len(events) - 1
        and not isinstance(
            events[place + 1],
            ev.RunReopened
            | ev.RestoreBegun
            | ev.RunTakenBack
            | ev.RunRequeued
            | ev.RunQuarantined
            | ev.RunArchived
            | ev.PayloadsPurged,
        )
    ]
    if len(ends) > lives or followed:
        found.append(f"I4: run {run} has {len(ends)} ends, at {ends} of {len(events)}")
    found += _fences(run, events)
    found += _timers(run, lines)
    found += check_messages(run, events)
    timed = [(line.time, line.event) for line in lines]
    found += check_authority(run, timed)
    if made[ev.ConsensusProposed] or made[ev.MachineOpened]:
        found += check_coordination(run, timed, library.codec)
    if made[ev.ConsensusProposed]:
        found += [f"{text} (run {run})" for text in contradictions(log, library.codec, run)]
    fold = _Fold(log, library, run, lines, records)
    found += fold.check()
    if seen is not None:
        seen.update(situations(events))
        if fold.compared:
            seen["snapshot compared with its fold"] += 1
        if not any(line.seq == 1 and isinstance(line.event, ev.RunStarted) for line in lines) and made[ev.RunStarted]:
            seen["run that waited for its place"] += 1
    if ledger:
        found += _executions(run, events, ledger)
    return found


def _fences(run: str, events: list[Any]) -> list[str]:
    found = []
    open_: dict[str, int] = {}
    over: Counter[str] = Counter()
    newest: dict[str, int] = {}
    halted = ""
    retold = False
    for event in events:
        match event:
            case ev.RunPaused() | ev.CancelRequested():
                halted = type(event).__name__
            case ev.RunResumed() | ev.CompensationStarted():
                # What undoes the steps of a run that was called off is started after that.
                halted = ""
            case ev.RunReopened(path=path):
                # What did not complete is done again, an item, part or turn as a whole.
                again = [
                    key for key in over if key.startswith(path) or path.startswith(key) or "[" in key or "#" in key
                ]
                over.subtract({key: over[key] for key in again})
            case ev.RestoreBegun():
                open_.clear()
                over.clear()
                halted = ""
                # What follows is told once more, under the fences that it had.
                retold = True
            case ev.RunForked() | ev.RunRestored():
                retold = retold and isinstance(event, ev.RunForked)
                # What was at work belongs to the run that was, and is given out anew.
                open_.clear()
                halted = ""
            case ev.StepScheduled(path=path, fence=fence):
                if halted:
                    found.append(f"I9: run {run} started {path} after {halted}")
                if over[path]:
                    found.append(f"I6: run {run} started {path} after it was over")
                if path in open_:
                    found.append(f"I5: run {run} started {path} under {fence} while {open_[path]} was open")
                if fence <= newest.get(path, 0) and not retold:
                    found.append(f"I5: run {run} started {path} under {fence} after {newest[path]}")
                open_[path] = fence
                newest[path] = max(fence, newest.get(path, 0))
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


def _timers(run: str, lines: list[Line]) -> list[str]:
    """What is due comes when it is due, or late: by log time, which those that follow the wall clock do not keep to."""
    found = []
    retries: dict[str, int] = {}
    wall: set[str] = set()
    for line in lines:
        match line.event:
            case ev.RetryScheduled(path=path, at=at):
                retries[path] = at
            case ev.WaitStarted(path=path, wall=True):
                wall.add(path)
            case ev.TimerFired(path=path, due=due):
                if line.time < due or due != retries.get(path):
                    found.append(f"I11: run {run} fired the timer of {path} at {line.time}, due {retries.get(path)}")
            case ev.WaitEnded(path=path, due=due) | ev.WaitingTimedOut(path=path, due=due):
                if line.time < due and path not in wall:
                    found.append(f"I11: run {run} had waited enough for {path} at {line.time}, due {due}")
            case _:
                pass
    return found


@lru_cache(maxsize=4_096)
def _most_retries(program: Program, rule: str) -> int:
    """Return how many retries a rule allows a step."""
    return max((policy.max_retries for policy in program.plan.policies if policy.rule == rule), default=0)


def _asks(form: Consensus, question: dict[str, Any]) -> bool:
    """Say whether a question is the one of the definition."""
    electors = {name: form.weights.get(name, 1) for name in form.electors}
    said = (question["rule"], question["threshold"], question["participation"], list(question["options"]))
    meant = (form.rule, form.threshold, form.participation, list(form.options))
    return said == meant and question["electors"] == electors


class _Fold:
    """Folds a run, looking at each event before and after: the checks that need its state."""

    def __init__(self, log: LogReader, library: Library, run: str, lines: list[Line], records: list[Record]) -> None:
        self.log, self.library, self.run, self.lines, self.records = log, library, run, lines, records
        self.found: list[str] = []
        self.retries: Counter[str] = Counter()
        #: The rule by which a step failed last.
        self.rules: dict[str, str] = {}
        self.more_retries = 0
        self.undone: list[str] = []
        #: A restore tells once more what the run takes again.
        self.retold = False
        #: A snapshot was compared.
        self.compared = False
        #: Members that run, by the path of what bounds them.
        self.members: dict[str, set[str]] = {}
        #: The event before the one that is looked at.
        self.last: Any = None

    def _say(self, text: str) -> None:
        self.found.append(text)

    def _new(self) -> Run:
        return Run(self.run, self.log.store_id, self.library.codec)

    def check(self) -> list[str]:
        run, library = self.run, self.library
        first = [line.event for line in self.lines]
        created = next(event for event in first if isinstance(event, ev.RunCreated))
        linked = next((event for event in first if isinstance(event, ev.RunLinked)), None)
        if linked is None:
            return [f"I12: run {run} was never linked"]
        state = self._new()
        state.program, state.link = library.program(created.plan), library.link(linked.link)
        state.plans, state.links = {created.plan: state.program}, {linked.link: state.link}
        row = self.log.snapshot(run_stream(run))
        last = len(self.lines) - 1
        for place, line in enumerate(self.lines):
            event = line.event
            self._before(state, event)
            self.last = event
            if isinstance(event, ev.PlanRevised):
                state.plans[event.plan], state.links[event.link] = library.program(event.plan), library.link(event.link)
            try:
                evolve(state, event)
            except Exception as error:
                return [*self.found, f"I12: run {run} cannot be folded at seq {line.seq}: {error}"]
            if place != last and self.lines[place + 1].seq == line.seq:
                continue
            state.position = line.seq
            if (
                state.status == "running"
                and not waits_for(state)
                and (place == last or not self._same_commit(line, self.lines[place + 1]))
            ):
                self._say(f"I20: run {run} waits for nothing at seq {line.seq}")
            if row is not None and row.position == line.seq and row.fingerprint == FINGERPRINT:
                self._snapshot(state, row)
        found = self.log.run(run)
        if (
            found is not None
            and found.position != len(self.records)
            and found.status in {"completed", "failed", "cancelled"}
        ):
            self._say(f"I3: the row of run {run} is {found.status} at {found.position} of {len(self.records)}")
        if (
            found is not None
            and str(state.status) in {"completed", "failed", "cancelled"}
            and found.status != state.status
        ):
            self._say(f"I3: the row of run {run} says {found.status}, its events {state.status}")
        return self.found

    def _same_commit(self, one: Line, other: Line) -> bool:
        """Say whether two records were stored together: a long decision is several records of one commit."""
        firsts = [link.first_offset for link in self.log.batches(limit=1_000_000)]
        return bisect_right(firsts, one.offset) == bisect_right(firsts, other.offset)

    def _snapshot(self, state: Run, row: SnapshotRow) -> None:
        self.compared = True
        again = self._new()
        again.program, again.link = state.program, state.link
        again.plans, again.links = state.plans, state.links
        from_plain(again, self.library.codec.unpack(row.state))
        if to_plain(again) != to_plain(state):
            self._say(f"I13: the snapshot of run {self.run} at seq {row.position} is not its fold")
        if row.hash != self.records[row.position - 1].hash:
            self._say(f"I15: the snapshot of run {self.run} stands on another record")

    def _before(self, state: Run, event: Any) -> None:
        match event:
            case ev.StepScheduled():
                self._started(state, event)
            case ev.StepFailed(path=path, rule=rule):
                self.rules[path] = rule
            case ev.RetryScheduled(path=path):
                self.retries[path] += 1
                assert state.program is not None
                if self.retries[path] > _most_retries(state.program, self.rules.get(path, "")) + self.more_retries:
                    self._say(f"I8: run {self.run} retried {path} {self.retries[path]} times")
            case ev.RunReopened(retries=retries):
                self.more_retries += retries
                self.members.clear()
            case ev.RunRestored():
                self.retold = False
            case ev.RestoreBegun() | ev.RunRequeued():
                self.retold = isinstance(event, ev.RestoreBegun)
                self.more_retries += 1_000
                self.members.clear()
            case ev.TurnStarted(path=path, turn=turn):
                form = state.steps[path].node.form if path in state.steps else None
                if isinstance(form, Loop) and turn >= form.max_iterations:
                    self._say(f"I8: run {self.run} began turn {turn} of {path}, at most {form.max_iterations}")
            case ev.ItemStarted(path=path, index=index):
                self._member(state, path, f"{path}[{index}]")
            case ev.ItemEnded(path=path, index=index):
                self.members.get(path, set()).discard(f"{path}[{index}]")
            case ev.ConsensusProposed(path=path, question=question):
                form = state.steps[path].node.form if path in state.steps else None
                if not isinstance(form, ForEach) or form.consensus is None or not _asks(form.consensus, question):
                    self._say(f"C2: run {self.run} put {path} to the vote otherwise than its definition says")
            case ev.CompensationStarted(steps=steps):
                if steps != list(reversed(state.undo)):
                    self._say(f"I10: run {self.run} undoes {steps}, completed were {list(state.undo)}")
                self.undone = list(steps)
            case ev.RunTakenBack(steps=steps):
                newest_first = [path for path in reversed(state.undo) if path in steps]
                if steps != newest_first:
                    self._say(f"I10: run {self.run} takes back {steps}, completed were {list(state.undo)}")
                self.undone = list(steps)
            case _:
                pass

    def _started(self, state: Run, event: ev.StepScheduled) -> None:
        run = self.run
        if event.attempt > event.fence:
            self._say(f"I8: run {run} counts attempt {event.attempt} of {event.path} under fence {event.fence}")
        if state.status != "running":
            self._say(f"I9: run {run} started {event.path} while it was {state.status}")
        step = state.steps.get(event.path) or _owner(state, event.path)
        if not self.retold:
            self.found += unallowed(run, step, event, self.last)
        step = state.steps.get(event.path)
        if step is None or step.ask_of:
            return
        if step.beside == "undo":
            if not self.undone or step.of not in self.undone:
                self._say(f"I10: run {run} undoes {step.of}, which nothing asked for")
            elif event.attempt == 1 and any(
                other.beside == "undo" and other.status not in {"completed", "failed", "skipped", "cancelled"}
                for other in state.steps.values()
                if other is not step and other.of in self.undone[: self.undone.index(step.of)]
            ):
                self._say(f"I10: run {run} undoes {step.of} before what completed after it")
            return
        if event.attempt > 1 or step.beside:
            return
        for id in step.node.step.after:
            before = state.steps.get(step.scope.step_path(id))
            if before is None or before.status not in {"completed", "skipped"}:
                self._say(f"I7: run {run} started {event.path} before {id} was over")
        owner = step.scope.owner
        if step.index >= 0:
            base = event.path[: event.path.rindex("[")]
            self._bound(
                state, base, sum(path.startswith(f"{base}[") and "/" not in path[len(base) :] for path in state.open)
            )
        elif owner is not None and isinstance(owner.node.form, Group):
            # A member with items is one member, however many of them are at work.
            members = {
                path if other.index < 0 else path[: path.rindex("[")]
                for path in state.open
                if (other := state.steps.get(path)) and other.scope is step.scope
            }
            self._bound(state, owner.path, len(members))

    def _member(self, state: Run, path: str, member: str) -> None:
        running = self.members.setdefault(path, set())
        self._bound(state, path, len(running - {member}))
        running.add(member)

    def _bound(self, state: Run, path: str, running: int) -> None:
        """``running`` are at work; one more begins."""
        step = state.steps.get(path)
        form = None if step is None else step.node.form
        most = form.max_concurrency if isinstance(form, ForEach | Group) else 0
        if most and running >= most:
            self._say(f"I18: run {self.run} runs {running + 1} of {path} at once, at most {most}")


def _owner(state: Run, path: str) -> StepState | None:
    """Return the step whose item or part begins."""
    return state.steps.get(path[: path.rindex("[")]) if path.endswith("]") else None


def live_unlike_fold(host: Host, library: Library) -> list[str]:
    """Compare the runs that a host has in memory with the folds of what it stored."""
    found = []
    for run, live in host.partition.runs.items():
        records = host.log.stream(run_stream(run), limit=1_000_000)
        if not live.position or len(records) != live.position:
            continue
        lines = lines_of(records, library.codec) or []
        state = Run(run, host.log.store_id, library.codec)
        state.program, state.link = live.program, live.link
        for line in lines:
            match line.event:
                case ev.RunCreated(plan=plan):
                    state.program = library.program(plan)
                    state.plans = {plan: state.program}
                case ev.RunLinked(link=link):
                    state.link = library.link(link)
                    state.links = {link: state.link}
                case ev.PlanRevised(plan=plan, link=link):
                    state.plans[plan], state.links[link] = library.program(plan), library.link(link)
                case _:
                    pass
            evolve(state, line.event)
        state.position = live.position
        if to_plain(state) != to_plain(live):
            found.append(f"I12: the state of run {run} at seq {live.position} is not the fold of its events")
    return found


def _executions(run: str, events: list[Any], ledger: list[Execution]) -> list[str]:
    """Compare what the log says with what was really executed."""
    found = []
    dispatched = {(event.path, event.fence) for event in events if isinstance(event, ev.StepScheduled)}
    executed = Counter((path, fence) for path, _, fence in ledger)
    for (path, fence), count in executed.items():
        if (path, fence) not in dispatched:
            found.append(f"I14: run {run} executed {path} under fence {fence}, which the log does not know")
        if count > 1:
            found.append(f"I14: run {run} executed {path} under fence {fence} {count} times")
    completed = {event.path: event.fence for event in events if isinstance(event, ev.StepCompleted)}
    for path, _, fence in ledger:
        # A run that was reopened may do again what it had done.
        again = path in completed and fence // FENCES_A_LIFE > completed[path] // FENCES_A_LIFE
        if path in completed and fence > completed[path] and not again:
            found.append(f"I14: run {run} executed {path} again (fence {fence}) after it was completed")
    return found
