"""One log, one writer, many runs: a pure object that a host drives.

::

    partition.receive(inputs, now)      a batch of whatever came
    partition.loads()                   what must be read before more can be decided; comes back through receive
    ready = partition.ready(now)        records to append; then, and only then, effects to perform
    store.append(ready.batch)
    partition.advance(ready)            what was stored may be told

Nothing leaves but as an element of a ``Ready`` whose batch has passed the store's fence, answers that need no record
included. Offsets and hashes are given in ``ready``, so that a run whose deciding raises can be struck out alone.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any

from kos_runtime.core.chain import EMPTY
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import Batch, CommandRow, Head, LimitRow, RunRow, TimerRow
from kos_runtime.core.schedule.commands import Scheduling
from kos_runtime.core.workflow import (
    attributes,
    authorizing,
    decide,
    executing,
    forking,
    people,
    reopening,
    requeueing,
    revising,
    steering,
)
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.asking import answered
from kos_runtime.core.workflow.cache import Cache
from kos_runtime.core.workflow.calling_off import cancel_inside
from kos_runtime.core.workflow.commands import (
    Accepted,
    AnswerTask,
    AskAuthority,
    CancelRun,
    CommandMachine,
    CreateRun,
    DecideApproval,
    ExecuteStep,
    ForkRun,
    GrantAuthority,
    PauseRun,
    Rejected,
    RequeueRun,
    RestoreRun,
    ResumeRun,
    RetryStep,
    RevisePlan,
    RevokeAuthority,
    SendSignal,
    SetAttributes,
    SetCheckpoints,
    StartRun,
    Steering,
)
from kos_runtime.core.workflow.compensating import GoBack, fail_run
from kos_runtime.core.workflow.desk import Desk, Stops
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.failing import attempt_failed, fail_before_start
from kos_runtime.core.workflow.peers import agreement_of, is_peer
from kos_runtime.core.workflow.progress import advance as progress
from kos_runtime.core.workflow.progress import length_of
from kos_runtime.core.workflow.reusing import stored_as
from kos_runtime.core.workflow.snapshot import from_plain
from kos_runtime.core.workflow.state import DEADLINE_TIMER, Codec, Run
from kos_runtime.core.workflow.status import TERMINAL, RunStatus
from kos_runtime.core.workflow.waiting import holds_only_stored, pending_row, priority_in, row_of, waits_for
from kos_runtime.engine import messages as msg
from kos_runtime.engine.clocks import MOST_AT_ONCE, Clocks
from kos_runtime.engine.families import TOKEN as FROM_FAMILY
from kos_runtime.engine.families import Families, parent_of
from kos_runtime.engine.histories import TOKEN as FROM_HISTORIES
from kos_runtime.engine.histories import Histories, hash_at
from kos_runtime.engine.limits import Limits
from kos_runtime.engine.peer_streams import PeerStreams
from kos_runtime.engine.pools import Pool, Pools, Process
from kos_runtime.engine.recorder import Meta, Recorder, stored_timers
from kos_runtime.engine.schedules import TOKEN as FROM_SCHEDULE
from kos_runtime.engine.schedules import Schedules
from kos_runtime.engine.starved import Starved
from kos_runtime.engine.turns import Admission


class Partition:
    """See the module. One object, one thread."""

    def __init__(
        self,
        *,
        store_id: str,
        number: int,
        epoch: int,
        head: Head,
        codec: Codec,
        limits: Limits | None = None,
        code_version: str = "",
    ) -> None:
        self.store_id = store_id
        self.epoch = epoch
        self.codec = codec
        self.limits = limits or Limits()
        self.recorder = Recorder(
            store_id=store_id,
            number=number,
            epoch=epoch,
            head=head,
            codec=codec,
            limits=self.limits,
            code_version=code_version,
        )
        self.time = head.time
        self.pools = Pools(self.limits)
        self.runs: dict[str, Run] = {}
        self.metas: dict[str, Meta] = {}
        self.programs: dict[str, Program] = {}
        self.links: dict[str, Link] = {}
        self.active = 0
        #: Runs that wait for a place among those at work.
        self.queue = Admission()
        self.more_pending = 0
        self._admitting: set[str] = set()
        #: What runs decided since the last ``ready``.
        self._pending: dict[str, Desk] = {}
        self._parked: dict[str, deque[msg.Input]] = {}
        self.cache = Cache()
        self._starved = Starved(self.cache, self.limits.max_cached_bytes)
        self._libraries: dict[tuple[str, str], list[msg.Request]] = {}
        #: Runs that were made here lately: one that is asked for twice may have ended in between.
        self.made: dict[str, None] = {}
        #: Runs that were looked up and are not there, while they are being made.
        self._absent: set[str] = set()
        self._loads: list[msg.Load] = []
        self._replies: list[msg.Reply] = []
        #: What was carried out in this round, by the ids of the commands.
        self._commands: dict[str, CommandRow] = {}
        self._effects: list[msg.Effect] = []
        self.families = Families(self, decide=self._decide, create=self._request, load=self._bring)
        self._quarantine: dict[str, tuple[str, bytes, Run | None]] = {}
        #: Runs of which more can be decided at once; in the order in which they take turns.
        self._unfinished: dict[str, None] = {}
        self._timers: list[tuple[int, str, str, int]] = []
        #: Of steps that wait: those of runs in memory and those that the store told of, until they are due.
        self.clocks = Clocks(self.limits.long_timer_ms, self.limits.wall_look_ms)
        self._next_sweep = 0
        #: (run, path) that had their turn and wait for data: it is theirs still when that has come.
        self._promised: set[tuple[str, str]] = set()
        #: How often hands were given out since the last batch was made.
        self._looks = 0
        self._settled: dict[str, list[tuple[str, str, int]]] = {}
        #: Runs at work that were recovered with dispatches that nobody has claimed yet.
        self._orphans: dict[tuple[str, str, int], None] = {}
        #: Dispatches that a process said it holds, of runs that are not loaded yet.
        self._claims: dict[tuple[str, str, int], str] = {}
        self._stale: list[TimerRow] = []
        self._early: dict[str, list[msg.ProcessUp]] = {}
        self._reconciled = True
        #: Runs that were looked at and rest as before.
        self._unchanged: list[str] = []
        self._histories = Histories(self)
        #: (digest, stream) of blobs that runs took over from others.
        self._mentions: list[tuple[str, str]] = []
        #: The streams of peers, which are processes of their own: this is their disk.
        self.peers = PeerStreams(self)
        self.schedules = Schedules(
            store_id, codec, lambda command: self._request(msg.Request(FROM_SCHEDULE, "", command))
        )

    # --- what comes in --------------------------------------------------------------------------

    def receive(self, inputs: Sequence[msg.Input], now: int) -> None:
        """Take a batch of input at log time ``now`` (milliseconds, never going back)."""
        self.time = self.pools.now = self.recorder.time = max(self.time, now)
        if self._unfinished:
            self._go_on()
        for item in inputs:
            match item:
                case msg.Outcomes():
                    self._outcomes(item)
                case msg.Request():
                    self._request(item)
                case msg.Repeated():
                    self._replies.append(msg.Reply(item.token, item.answer))
                case msg.ProcessUp():
                    self._process_up(item)
                case msg.ProcessDown():
                    self._process_down(item)
                case msg.Loaded():
                    self._loaded(item)
                case msg.DataLoaded():
                    self._data_loaded(item)
                case msg.LibraryLoaded():
                    self._library_loaded(item)
                case msg.TimersLoaded():
                    self._timers_loaded(item)
                case msg.PendingLoaded():
                    self._pending_loaded(item)
                case msg.HistoryLoaded():
                    self._histories.loaded(item)
                case msg.PoolFailed():
                    self._pool_failed(item)
                case msg.InstantsLoaded():
                    self.schedules.told(item)
                case msg.Reconciled():
                    self._all_reported()
                case msg.PeerRequest():
                    self.peers.asked(item)
                case msg.PeerLoaded():
                    self.peers.loaded(item)
                case msg.ToParent() | msg.ToChild() | msg.Report():
                    self.families.tell(item)
        if self.schedules.entries:
            self.schedules.tick()
        self._fire()
        self._expire()
        self.families.settle()
        self._looks += 1
        if self._looks <= MAX_LOOKS:
            self._grant()
        elif self._looks == MAX_LOOKS + 1:
            # Whoever is given a turn, reads what it needs and still cannot start would be given it for ever.
            heappush(self._timers, (self.time + 1, "", "", 0))
        self._admit()
        while self.families.settle():
            self._grant()
            self._admit()
        if self.time >= self._next_sweep:
            self._sweep()

    def loads(self) -> list[msg.Load]:
        """Return what must be read; each is answered once, through ``receive``."""
        loads, self._loads = self._loads, []
        if self.peers.loads:
            loads, self.peers.loads = [*loads, *self.peers.loads], []
        return [*loads, *self.schedules.loads()] if self.schedules.entries else loads

    def next_due(self) -> int | None:
        """Return the instant at which ``receive`` must be called even without input, if there is one."""
        if self._unfinished or (self.queue and self.active < self.limits.max_active_runs):
            return self.time
        due = [self.clocks.due(self.time), self.pools.overdue_at]
        if self.pools.gates:
            due.append(self.pools.opens_at())
        if self._timers:
            due.append(self._timers[0][0])
        if self.runs:
            due.append(self._next_sweep)
        if self.schedules.entries:
            due.append(self.time + self.schedules.due_in())
        return min(due)

    def is_idle(self) -> bool:
        """Say whether no run is at work: all have ended, or wait for people."""
        at_work = self.active or self.queue or self.more_pending or self._pending or self._parked
        return not at_work and self.schedules.is_idle() and not self.clocks.stored

    # --- outcomes -------------------------------------------------------------------------------

    def _outcomes(self, item: msg.Outcomes) -> None:
        process = item.process
        pools, runs, orphans = self.pools, self.runs, self._orphans
        holder = pools.processes.get(process)
        settled = self._settled.setdefault(process, [])
        if holder is not None and (
            durations := [o.duration_ms for o in item.outcomes if o.error is None and o.duration_ms]
        ):
            pools.measured(holder, durations)
        if item.stuck >= 0 and holder is not None:
            # Before anything is decided: what follows a timeout must not go where its body still has the hand.
            holder.stuck = item.stuck
            holder.heard = self.time
        for result in item.outcomes:
            key = (result.run, result.path, result.fence)
            settled.append(key)
            if holder is not None:
                pools.released(holder, key)
            if orphans:
                orphans.pop(key, None)
            run = runs.get(result.run)
            if run is not None:
                cause = f"outcome:{result.path}@{result.fence}"
                desk = self._desk(run, cause)
                try:
                    decide.outcome(desk, result)
                except Exception as error:
                    self._strike(run, cause, result, error)
                    continue
                if desk.starved or run.todo or desk.owed or run.parent is not None:
                    self._leave(run, desk)
            elif result.run in self._parked:
                self._parked[result.run].append(msg.Outcomes(process, [result]))
        if holder is not None and item.running:
            holder.begun.update(item.running)

    def _decide(self, run: Run, cause: str, function: Any, *arguments: Any, **named: Any) -> Any:
        """Decide about one run; if that raises, strike it out and set it aside alone."""
        desk = self._desk(run, cause)
        try:
            answer = function(desk, *arguments, **named)
        except Exception as error:
            return self._strike(run, cause, arguments, error)
        if desk.starved or run.todo or desk.owed or run.parent is not None:
            self._leave(run, desk)
        return answer

    def _desk(self, run: Run, cause: str) -> Desk:
        """Return where a run is decided about in this round."""
        desk = self._pending.get(run.id)
        if desk is None:
            desk = self._pending[run.id] = Desk(run, self.time, self.epoch, self.pools)
            desk.causes.append(cause)
        else:
            desk.now = self.time
            if len(desk.causes) < MAX_CAUSES:
                desk.causes.append(cause)
        return desk

    def _leave(self, run: Run, desk: Desk) -> None:
        """See to what a decision leaves: what waits for data, what is more than fits into one round, what others are owed."""
        if desk.starved:
            self._starve(run, desk)
        if run.todo:
            self._unfinished[run.id] = None
        if desk.owed or run.parent is not None:
            self.families.look(run, desk)

    def _strike(self, run: Run, cause: str, about: Any, error: Exception) -> Rejected:
        meta = self.metas.get(run.id)
        if meta is not None and meta.status in TERMINAL:
            return self._leave_ended(run, cause, error)
        self._set_aside(run.id, f"{type(error).__name__}: {error}", repr((cause, about)).encode()[:65_536])
        return Rejected(code="quarantined", message=f"run {run.id} was set aside: {error}")

    def _leave_ended(self, run: Run, cause: str, error: Exception) -> Rejected:
        """What was asked of a run that is over cannot be decided: nothing of it is stored, and the run stays as it ended."""
        self._pending.pop(run.id, None)
        self._starved.forget(run.id)
        self.runs.pop(run.id, None)
        meta = self.metas.pop(run.id)
        self.active -= meta.active
        message = f"run {run.id} is {meta.status}, and cannot go on: {type(error).__name__}: {error}"
        self._effects.append(msg.Notice("refused", f"{cause}: {message}", run.id))
        return Rejected(code="conflict", message=message)

    def _go_on(self) -> None:
        """Decide more of the runs that had more to decide than fits into one round."""
        again, self._unfinished = self._unfinished, {}
        for id in again:
            run = self.runs.get(id)
            if run is not None and run.todo:
                self._decide(run, "goes on", progress)

    def _starve(self, run: Run, desk: Desk) -> None:
        starved, desk.starved = desk.starved or [], None
        own = {digest for _, wants in starved for digest in wants} & desk.blobs.keys()
        if own:
            # It was made in this very round and is not stored yet, so there is nothing to load.
            for digest in own:
                self.cache.put(digest, len(desk.blobs[digest]), self.codec.unpack(desk.blobs[digest]))
            run.todo.extend(path for path, _ in starved)
            return
        self._starved.add(run.id, starved)
        self._load_data(run.id)

    def _load_data(self, run: str) -> None:
        load = self._starved.load(run)
        if load is not None:
            self._loads.append(load)

    def _data_loaded(self, item: msg.DataLoaded) -> None:
        run = self.runs.get(item.run)
        if run is None:
            self._starved.forget(item.run)
            self._promised = {turn for turn in self._promised if turn[0] != item.run}
            return
        paths, lost = self._starved.loaded(run.id, item.values, MISSING)
        for path, digest in lost:
            error = failure(ErrorType.PERMANENT, f"a value that it reads is gone: blob {digest}", step=path)
            self._decide(run, "data", _fail_starved, path, error)
        if paths:
            promised = [path for path in paths if (run.id, path) in self._promised]
            run.todo.extend(promised)
            run.todo.extend(path for path in paths if path not in promised)
            self.pools.granting = bool(promised)
            self._decide(run, "data", progress)
            self.pools.granting = False
            for path in promised:
                if not self._starved.wants(run.id, path):
                    self._promised.discard((run.id, path))
        self._starved.settled(run.id, paths)
        self._load_data(run.id)

    # --- requests -------------------------------------------------------------------------------

    def _request(self, item: msg.Request) -> None:
        command = item.command
        if isinstance(command, CreateRun):
            self._create(item, command)
            return
        if item.command_id in self._commands:
            # It came twice at once, and is not stored yet.
            plain = self.codec.unpack(self._commands[item.command_id].answer)
            self._reply(item, Accepted(**plain))
            return
        if isinstance(command, ForkRun):
            self._loads.append(self._histories.ask(item))
            return
        if isinstance(command, Scheduling):
            self._schedule(item, command)
            return
        run = self.runs.get(command.run)
        if run is None:
            self._park(command.run, item)
            return
        if isinstance(command, RestoreRun):
            self._loads.append(self._histories.ask(item))
            return
        answer: Accepted | Rejected
        match command:
            case StartRun():
                answer = self._start(run)
            case RevisePlan():
                program, link = self.programs.get(command.plan), self.links.get(command.link)
                if program is None or link is None:
                    self._load_library(command, item)
                    return
                answer = self._revise(run, command, item.command_id, program, link)
            case _:
                answer = self._steer(run, command, item.command_id)
        self._reply(item, answer)

    def _load_library(self, command: CreateRun | RevisePlan, item: msg.Request) -> None:
        """Have the plan and the link of a command loaded; it is looked at again when they are there."""
        waiting = self._libraries.setdefault((command.plan, command.link), [])
        if not waiting:
            self._loads.append(msg.LoadLibrary(command.plan, command.link))
        waiting.append(item)

    def _revise(
        self, run: Run, command: RevisePlan, command_id: str, program: Program, link: Link
    ) -> Accepted | Rejected:
        """Have a run follow another plan, and go on by it."""
        run.plans, run.links = {command.plan: program}, {command.link: link}
        answer = self._steer(run, command, command_id)
        if isinstance(answer, Accepted) and not answer.existing and run.id in self.runs:
            self._know(link)
            if run.status is RunStatus.RUNNING:
                self._decide(run, "changed", progress)
        return answer

    def _reply(self, item: msg.Request, answer: Accepted | Rejected) -> None:
        if item.token == FROM_SCHEDULE:
            self.schedules.answered(item.command, answer)
            return
        if item.token == FROM_FAMILY:
            self.families.answered(item.command, answer)
            return
        if item.token == FROM_HISTORIES:
            self._histories.answered(item.command, answer)
            return
        self._replies.append(msg.Reply(item.token, answer))

    def go_back(self, run: str, what: GoBack) -> None:
        """What a run did since a point is undone: restore it."""
        load = self._histories.go_back(run, what)
        if load is not None:
            self._loads.append(load)

    def give_up(self, run: str, why: str) -> None:
        """Set a run aside that cannot go on."""
        self._set_aside(run, why, b"")

    def _schedule(self, item: msg.Request, command: Scheduling) -> None:
        answer = self.schedules.carry_out(command, f"command:{item.command_id} by {command.by}", self.time)
        if isinstance(answer, Accepted) and item.command_id:
            plain = {"run": answer.run, "position": answer.position, "event": answer.event}
            self._commands[item.command_id] = CommandRow(item.command_id, 0, self.codec.pack(plain))
        self._reply(item, answer)

    def _create(self, item: msg.Request, command: CreateRun) -> None:
        meta = self.metas.get(command.run)
        doubtful = command.key or command.parent is not None or command.again or command.run in self.made
        if meta is None and (doubtful or command.run in self._parked) and command.run not in self._absent:
            # Whether a run exists is one point read; ids without a key are random, and looked up only when asked again.
            # That of a child follows from its parent, which may have been set aside when it had asked.
            self._park(command.run, item)
            return
        if meta is not None:
            self._reply(item, self._existing(command, meta.input_digest, meta.position))
            return
        program, link = self.programs.get(command.plan), self.links.get(command.link)
        if program is None or link is None:
            self._load_library(command, item)
            return
        if command.start and command.parent is None and len(self.queue) >= self.limits.max_pending_runs:
            message = f"busy: {len(self.queue)} runs wait already (max_pending_workflows); try again later"
            self._reply(item, Rejected(code="busy", message=message))
            return
        run = Run(command.run, self.store_id, self.codec, self.cache)
        self._equip(run, program, link)
        digest = self._input_digest(command)
        self.metas[run.id] = Meta(command.salt, EMPTY, 0, self.time, new=True, input_digest=digest)
        self.runs[run.id] = run
        answer = self._decide(run, f"command:{item.command_id} by {command.author}", decide.create, command)
        if isinstance(answer, Rejected):
            self.runs.pop(run.id, None)
            self.metas.pop(run.id, None)
            self._pending.pop(run.id, None)
        else:
            _keep(self.made, run.id, None, MAX_MADE)
            if command.start:
                self._start(run)
        self._reply(item, answer)

    def _create_absent(self, item: msg.Request, command: CreateRun) -> None:
        """Make a run that is known not to be there."""
        self._absent.add(command.run)
        self._create(item, command)
        self._absent.discard(command.run)

    def _input_digest(self, command: CreateRun) -> str:
        if not command.key:
            return ""
        return sha256(self.codec.pack([command.plan, command.inputs])).hexdigest()[:32]

    def _existing(self, command: CreateRun, input_digest: str, position: int) -> Accepted | Rejected:
        if command.key and input_digest != self._input_digest(command):
            message = f"key {command.key!r} belongs to run {command.run}, which was created with other inputs"
            return Rejected(code="conflict", message=message)
        return Accepted(run=command.run, position=position, existing=True)

    def _equip(self, run: Run, program: Program, link: Link) -> None:
        run.program, run.link = program, link
        self._know(link)

    def _know(self, link: Link) -> None:
        for agent in link.agents.values():
            self.pools.know(agent)
            for item in self._early.pop(agent.pool, ()) if self._early else ():
                self._process_up(item)

    def _start(self, run: Run) -> Accepted | Rejected:
        meta = self.metas[run.id]
        if run.status is not RunStatus.CREATED:
            return Accepted(run=run.id, position=meta.position, existing=True)
        if self.active < self.limits.max_active_runs:
            meta.active = True
            self.active += 1
            self._decide(run, "admitted", decide.start)
            self._watch_deadline(run)
            return Accepted(run=run.id, position=meta.position, event="RunStarted")
        if run.id not in self._admitting:
            if run.parent is None:
                self.queue.add(run.id, priority=0 if run.program is None else run.program.plan.priority)
            else:
                # A family that has begun goes on before others begin.
                self.queue.put_first(run.id)
            self._admitting.add(run.id)
            self._touch(run)
        return Accepted(run=run.id, position=meta.position, event="RunPending")

    def _touch(self, run: Run) -> None:
        """See to it that ``ready`` looks at a run of which nothing was decided."""
        if run.id not in self._pending:
            self._pending[run.id] = Desk(run, self.time, self.epoch, self.pools)

    def _admit(self) -> None:
        while self.active < self.limits.max_active_runs and (id := self.queue.take()):
            self._admitting.discard(id)
            run = self.runs.get(id)
            if run is None:
                # Promised a place while it is loaded.
                self._park(id, msg.Request(PROMISED, "", StartRun(run=id)))
                break
            self._start(run)
        if not self.queue and self.more_pending and self.active < self.limits.max_active_runs:
            self._loads.append(msg.LoadPending(self.more_pending))
            self.more_pending = 0

    def _pending_loaded(self, item: msg.PendingLoaded) -> None:
        for id, priority in item.runs:
            if id not in self._admitting:
                self._admitting.add(id)
                self.queue.add(id, priority=priority)

    def mention(self, run: str, digests: Iterable[str]) -> None:
        """See to it that blobs which a run took over from another are known to be its own too."""
        stream = run_stream(run)
        self._mentions += [(digest, stream) for digest in digests]

    def _steer(
        self, run: Run, command: Steering, command_id: str, history: msg.HistoryLoaded | None = None
    ) -> Accepted | Rejected:
        """Carry out what a person decides of a run, once for each command id."""
        meta = self.metas[run.id]
        before = len(self._pending[run.id].events) if run.id in self._pending else 0
        began = run.status is not RunStatus.CREATED
        cause = f"command:{command_id} by {command.by}"
        decided: Any
        if history is None:
            decided = self._decide(run, cause, _STEERING[type(command)], command)
        else:
            assert isinstance(command, RestoreRun)
            its_hash = hash_at(history.source, command.to)
            decided = self._decide(run, cause, forking.restore, command, history.source.history, its_hash)
        answer: Accepted | Rejected = decided
        if isinstance(answer, Accepted):
            if began and run.status is RunStatus.CREATED:
                # It was taken back to before it began: it has a place, and begins anew.
                self._decide(run, cause, decide.start)
            if type(command) is not AnswerTask:
                self._watch_deadline(run)
            if not meta.active:
                meta.active = True
                self.active += 1
            if isinstance(command, RequeueRun):
                for path, (due, fence) in run.timers.items():
                    heappush(self._timers, (due, run.id, path, fence))
                self.families.ask(run)
            position = meta.position + (not answer.existing)
            plain = {"run": run.id, "position": position, "event": answer.event}
            if answer.reply is not None:
                plain["reply"] = answer.reply
            if command_id and not (answer.existing and type(command) is CommandMachine):
                # A machine that recorded nothing is asked anew.
                self._commands[command_id] = CommandRow(command_id, 0, self.codec.pack(plain))
            return replace(answer, position=position)
        if before == 0 and run.id in self._pending and not self._pending[run.id].events:
            self._touch(run)
        return answer

    # --- cold runs ------------------------------------------------------------------------------

    def _park(self, run: str, item: msg.Input) -> None:
        waiting = self._parked.get(run)
        if waiting is None:
            waiting = self._parked[run] = deque()
            failed = isinstance(item, msg.Request) and isinstance(item.command, RetryStep | RequeueRun)
            ended = isinstance(item, msg.Report) or (
                isinstance(item, msg.Request) and isinstance(item.command, RestoreRun)
            )
            self._loads.append(msg.LoadRun(run, failed, ended))
        if isinstance(item, msg.Request) and len(waiting) >= self.limits.max_parked:
            self._reply(item, Rejected(code="busy", message=f"busy: run {run} is being loaded"))
            return
        waiting.append(item)

    def _bring(self, item: msg.ToParent | msg.ToChild | msg.Report) -> None:
        """Have a run loaded for what another owes it; one that was just set aside hears nothing more."""
        if item.run not in self._quarantine:
            self._park(item.run, item)

    def recover(self, run: str) -> None:
        """Ask for a run that was at work when the partition changed hands."""
        self._parked.setdefault(run, deque())
        self._loads.append(msg.LoadRun(run))
        self._reconciled = False

    def _loaded(self, item: msg.Loaded) -> None:
        waiting = self._parked.pop(item.run, deque())
        if item.row is None:
            for parked in waiting:
                if isinstance(parked, msg.Report):
                    self.families.not_to_be_had(parked, "lost", "there is no such run")
                elif isinstance(parked, msg.Request):
                    if isinstance(parked.command, CreateRun):
                        self._create_absent(parked, parked.command)
                    else:
                        self._reply(parked, Rejected(code="not_found", message=f"no run {item.run!r} in this store"))
            return
        over = item.row.status in TERMINAL and not item.history and item.snapshot is None
        aside = item.row.status == RunStatus.QUARANTINED and not item.history
        if over or aside or item.damage:
            if item.lost and not over and not aside:
                self._lose(item)
            self._answer_ended(item, waiting)
            return
        meta = self._meta(item, item.row)
        run = self._fold(item)
        if run is None or item.program is None or item.link is None:
            self.metas[item.run] = meta
            self._answer_ended(item, waiting)
            return
        self.runs[item.run], self.metas[item.run] = run, meta
        if run.status is RunStatus.RUNNING:
            if row_of(run)[0] is RunStatus.RUNNING:
                meta.active = True
                self.active += 1
            meta.timers = dict(stored_timers(run))
            if item.row.status in AT_REST:
                meta.deadline = run.deadline
            for path, (due, fence) in run.timers.items():
                if path not in meta.timers:
                    heappush(self._timers, (due, run.id, path, fence))
            for path, row in meta.timers.items():
                self.clocks.add((row.due, run.id, path, row.fence), self.time)
            self._watch_deadline(run)
            for path, fence in run.open.items():
                claimant = self.pools.processes.get(self._claims.pop((run.id, path, fence), ""))
                if claimant is None:
                    self._orphans[run.id, path, fence] = None
                else:
                    self._adopt(claimant, run.id, path, fence)
            run.todo.extend(run.agenda)
            if run.todo:
                self._decide(run, "recovered", progress)
            if run.machines:
                self._decide(run, "recovered", decide.come_back)
            self._fire_missed(run, meta)
        elif item.row.status == RunStatus.PENDING and run.id not in self._admitting and not _is_started(waiting):
            self.queue.add(run.id, priority=priority_in(item.row.waiting))
            self._admitting.add(run.id)
        for parked in waiting:
            if isinstance(parked, msg.Request):
                if isinstance(parked.command, CreateRun):
                    self._reply(parked, self._existing(parked.command, meta.input_digest, meta.position))
                elif parked.token == PROMISED:
                    self._start(run)
                else:
                    self._request(parked)
            elif isinstance(parked, msg.Outcomes):
                self._outcomes(parked)
            elif isinstance(parked, msg.TimersLoaded):
                self._timers_loaded(parked)
            elif isinstance(parked, msg.ToParent | msg.ToChild | msg.Report):
                self.families.tell(parked)
        if item.run in self.metas:
            self._touch(run)
        if self._reconciled and self._orphans:
            self._lose_orphans("its owner was restarted")

    def _meta(self, item: msg.Loaded, row: RunRow) -> Meta:
        meta = Meta(item.salt, item.last_hash, row.position, row.created_at, item.snapshot_position)
        meta.status, meta.waiting, meta.input_digest = row.status, row.waiting, row.input_digest
        meta.position = item.history[-1][0] if item.history else max(item.snapshot_position, meta.position)
        meta.offset, meta.snapshot_at = item.last_offset, self.time
        return meta

    def _lose(self, item: msg.Loaded) -> None:
        """A child cannot go on, since what it follows is gone: it is set aside, and its parent hears why."""
        parent = parent_of(item)
        if parent is None or parent[4] == "detach" or item.row is None:
            return
        run = Run(item.run, self.store_id, self.codec, self.cache)
        run.workflow, run.version, run.name = item.row.workflow, item.row.version, item.row.name
        run.key, run.plan_digest, run.parent = item.row.key, item.row.plan_digest, parent
        self.metas[item.run] = self._meta(item, item.row)
        self._set_aside(item.run, item.damage, b"", run)

    def _fold(self, item: msg.Loaded) -> Run | None:
        assert item.row is not None
        run = Run(item.run, self.store_id, self.codec, self.cache)
        # What its row says of it, in case that it cannot be folded.
        run.workflow, run.version, run.name = item.row.workflow, item.row.version, item.row.name
        run.key, run.plan_digest = item.row.key, item.row.plan_digest
        # Known before anything else can go wrong: its parent is to hear of it.
        run.parent = parent_of(item)
        if item.program is None or item.link is None:
            self._set_aside(run.id, item.damage or "its plan or its link is gone", b"", run)
            return None
        self._equip(run, item.program, item.link)
        self.programs.setdefault(item.program.digest, item.program)
        self.give_plans(run, item)
        try:
            if item.snapshot is not None:
                from_plain(run, item.snapshot)
            for position, events in item.history:
                for event in events:
                    evolve(run, event)
                run.position = position
        except Exception as error:
            self._set_aside(run.id, f"cannot be folded: {type(error).__name__}: {error}", b"", run)
            return None
        run.todo.clear()
        return run

    def give_plans(self, run: Run, item: msg.Loaded) -> None:
        """Have a run ready for the changes of its plan that are folded into it."""
        run.plans, run.links = item.plans, item.links
        for link in item.links.values():
            self._know(link)

    def _answer_ended(self, item: msg.Loaded, waiting: Iterable[msg.Input]) -> None:
        assert item.row is not None
        for parked in waiting:
            if isinstance(parked, msg.TimersLoaded):
                self._stale.extend(parked.timers)
            if isinstance(parked, msg.Report):
                if item.row.status in TERMINAL and not (item.damage or item.history):
                    # Somebody else asked first, and less.
                    self._park(item.run, parked)
                    continue
                why = item.damage or f"it is {item.row.status}"
                self.families.not_to_be_had(parked, item.row.status, why)
            if not isinstance(parked, msg.Request) or parked.token == PROMISED:
                continue
            if isinstance(parked.command, CreateRun):
                self._reply(parked, self._existing(parked.command, item.row.input_digest, item.row.position))
            elif (
                isinstance(parked.command, RequeueRun)
                and item.row.status in {RunStatus.FAILED, RunStatus.QUARANTINED}
                and not (item.damage or item.history)
            ):
                # It was asked for otherwise before.
                self._park(item.run, parked)
            elif (
                isinstance(parked.command, RestoreRun)
                or (isinstance(parked.command, RetryStep) and item.row.status == RunStatus.FAILED)
            ) and not (item.damage or item.history or item.row.status == RunStatus.QUARANTINED):
                # Somebody else asked first, and less.
                self._park(item.run, parked)
            else:
                why = f"run {item.run} is {item.row.status}" + (f": {item.damage}" if item.damage else "")
                self._reply(parked, Rejected(code="conflict", message=why))

    def _library_loaded(self, item: msg.LibraryLoaded) -> None:
        waiting = self._libraries.pop((item.plan, item.link), [])
        if item.program is not None and item.linked is not None:
            _keep(self.programs, item.plan, item.program)
            _keep(self.links, item.link, item.linked)
        for request in waiting:
            assert isinstance(request.command, CreateRun | RevisePlan)
            if item.program is None or item.linked is None:
                gone = "plan" if item.program is None else "link"
                self._reply(
                    request, Rejected(code="invalid", message=f"the {gone} of {request.command.run} is not stored")
                )
            elif isinstance(request.command, RevisePlan):
                self._request(request)
            else:
                self._create_absent(request, request.command)

    # --- processes ------------------------------------------------------------------------------

    def _process_up(self, item: msg.ProcessUp) -> None:
        if item.pool not in self.pools.pools:
            # Its pool is known when the first run that needs it is there.
            self._early.setdefault(item.pool, []).append(item)
            return
        process = self.pools.up(item.process, item.pool, item.hands)
        for run, path, fence in item.holds:
            if self._orphans.pop((run, path, fence), 0) is None:
                self._adopt(process, run, path, fence)
            else:
                self._claims[run, path, fence] = item.process

    def _adopt(self, process: Process, run: str, path: str, fence: int) -> None:
        """A dispatch from before a takeover runs on, or its outcome comes again."""
        here = self.runs.get(run)
        step = None if here is None else here.steps.get(path)
        if step is not None and is_peer(step):
            process.peers[run, path, fence] = None
            return
        self.pools.held(process, (run, path, fence), 0 if step is None else step.node.step.timeout_ms)
        if step is not None and step.node.step.heartbeat_ms:
            self.pools.watch(process, (run, path, fence), step.node.step.heartbeat_ms)

    def _process_down(self, item: msg.ProcessDown) -> None:
        process = self.pools.down(item.process)
        if process is None:
            for early in self._early.values():
                early[:] = [up for up in early if up.process != item.process]
            return
        lost = list(process.holds)
        # When nothing was reported as begun, whatever it held may be what ended it.
        only = len(lost) == 1
        self._effects.append(msg.Notice("process_down", f"{item.process} died ({item.cause})"))
        for run_id, path, fence in lost:
            run = self.runs.get(run_id)
            if run is None:
                continue
            sent = (run_id, path, fence) not in item.unsent
            suspect = sent and not item.ended and (only or (run_id, path, fence) in process.begun)
            self._decide(run, f"lost:{item.process}", decide.lost, path, fence, item.cause, suspect=suspect, sent=sent)
        for run_id, path, fence in process.peers:
            run = self.runs.get(run_id)
            if run is not None:
                sent = (run_id, path, fence) not in item.unsent
                suspect = sent and not item.ended and (run_id, path, fence) in process.begun
                self._decide(
                    run, f"lost:{item.process}", decide.lost, path, fence, item.cause, suspect=suspect, sent=sent
                )

    def _pool_failed(self, item: msg.PoolFailed) -> None:
        pool = self.pools.pools.get(item.pool)
        if pool is None:
            return
        pool.starting = max(pool.starting - 1, 0)
        pool.failed = item.reason
        if pool.processes:
            self._fail_votes(pool, item.reason)
            return
        for run_id, path in sorted(pool.waiting):
            run = self.runs.get(run_id)
            if run is not None:
                error = failure(ErrorType.RESOURCE, item.reason, step=path)
                self._decide(run, f"pool:{item.pool}", _fail_waiting, path, error)
        pool.waiting.clear()
        pool.queue.clear()

    def _fail_votes(self, pool: Pool, reason: str) -> None:
        """No further process can be had: votes of which no majority has a place would wait for ever."""
        for run_id, path in sorted(pool.waiting):
            run = self.runs.get(run_id)
            vote = None if run is None or path not in run.steps else agreement_of(run.steps[path])
            if run is None or vote is None or run.steps[path].index >= 0:
                continue
            there = len(pool.processes) + pool.starting
            if 2 * there <= len(vote.electors):
                message = f"{there} of {len(vote.electors)} peers can have a process, and that is no majority: {reason}"
                error = failure(ErrorType.RESOURCE, message, step=path)
                self._decide(run, f"pool:{pool.name}", _fail_waiting, path, error)
                pool.waiting.discard((run_id, path))

    def _all_reported(self) -> None:
        self._reconciled = True
        self._lose_orphans("its owner was restarted")

    def _lose_orphans(self, cause: str) -> None:
        orphans, self._orphans = self._orphans, {}
        for run_id, path, fence in orphans:
            run = self.runs.get(run_id)
            if run is not None:
                self._decide(run, "recovered", decide.lost, path, fence, cause, suspect=False)

    def _grant(self) -> None:
        """Give free hands to who is next, and ask for processes where somebody waits."""
        if self.pools.gates:
            self._let_through()
        for pool in self.pools.pools.values():
            # Each gets one turn: who must run alone may have to go on waiting although hands are free.
            for _ in range(len(pool.waiting)):
                turn = self.pools.next_in_turn(pool)
                if turn is None:
                    break
                run_id, path = turn
                run = self.runs.get(run_id)
                if run is None or path not in run.agenda:
                    continue
                self.pools.granting = True
                run.todo.append(path)
                self._decide(run, "turn", progress)
                self.pools.granting = False
                if run_id in self._starved and self._starved.wants(run_id, path):
                    self._promised.add((run_id, path))
            while self.pools.wants_process(pool):
                pool.starting += 1
                link = pool.link
                self._effects.append(msg.StartProcess(pool.name, link.kind, link.target, link.settings, link.resources))

    def _let_through(self) -> None:
        """Look again at what a run's own limit kept from starting, as much as may start now."""
        for gate in self.pools.with_waiting():
            run = self.runs.get(gate.run)
            if run is None:
                gate.forget()
                continue
            for _ in range(len(gate.waiting)):
                path = None if gate.shut(self.time, len(run.open)) else gate.next()
                if path is None:
                    break
                if path in run.agenda:
                    run.todo.append(path)
                    self._decide(run, "turn", progress)

    # --- time -----------------------------------------------------------------------------------

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.time:
            _, run_id, path, fence = heappop(self._timers)
            run = self.runs.get(run_id)
            if run is not None:
                self._decide(run, f"timer:{path}@{fence}", decide.timer, path, fence)
        for timer in self.clocks.fired(self.time):
            due, run_id, path, fence = timer
            run = self.runs.get(run_id)
            cold = timer in self.clocks.cold
            self.clocks.cold.discard(timer)
            if run is not None:
                self._decide(run, f"timer:{path}@{abs(fence)}", decide.timer, path, abs(fence))
            elif cold:
                self._park(run_id, msg.TimersLoaded([TimerRow(due, run_id, path, fence)], self.time))
        for due, run_id, path, fence in self.clocks.coming(self.time):
            if run_id not in self.runs:
                self._park(run_id, msg.TimersLoaded([TimerRow(due, run_id, path, fence)], self.time))
        before = self.clocks.poll(self.time)
        if before:
            self._loads.append(msg.LoadTimers(before))

    def _fire_missed(self, run: Run, meta: Meta) -> None:
        """What was due while a run was not in memory comes before whatever is asked of it now."""
        if 0 < run.deadline <= self.time:
            self._decide(run, "timer:the run's own", decide.timer, DEADLINE_TIMER, 0)
        for due, path, fence in sorted((due, path, fence) for path, (due, fence) in run.timers.items()):
            row = meta.timers.get(path)
            if self.clocks.is_over(due, self.time, follows_wall=row is not None and row.fence < 0):
                self._decide(run, f"timer:{path}@{fence}", decide.timer, path, fence)

    def _watch_deadline(self, run: Run) -> None:
        """A run that may take only a short time is watched closely; for others the sweep is often enough."""
        if run.deadline and length_of(run) <= CLOSE_MS:
            heappush(self._timers, (run.deadline, run.id, DEADLINE_TIMER, 0))

    def _expire(self) -> None:
        """Give up attempts whose processes stayed silent beyond timeout and grace."""
        for process, key in self.pools.overdue():
            run_id, path, fence = key
            run = self.runs.get(run_id)
            if run is None:
                continue
            error = failure(ErrorType.TIMEOUT, f"{process.name} stayed silent beyond its timeout", step=path)
            self._decide(run, f"silence:{path}@{fence}", decide.expired, path, fence, error)
            self._effects.append(msg.Cancel(process.name, [key], kill=True))

    def _timers_loaded(self, item: msg.TimersLoaded) -> None:
        """Take in a page of the store's timers; those of runs that are not in memory bring them back when they are due."""
        for row in item.timers:
            timer = (row.due, row.run, row.path, row.fence)
            run = self.runs.get(row.run)
            if run is None:
                self.clocks.add(timer, self.time, cold=True)
            elif row.path == DEADLINE_TIMER:
                if run.deadline == row.due:
                    self._decide(run, "timer:the run's own", decide.timer, row.path, 0)
                elif self.metas[run.id].deadline != row.due:
                    self._stale.append(row)
            else:
                held = run.timers.get(row.path)
                if held is None or held[1] != abs(row.fence):
                    self._stale.append(row)
                elif row.path in run.waits:
                    self.clocks.add(timer, self.time)
                else:
                    heappush(self._timers, timer)
        if item.page and self.clocks.polled(item, self.time):
            self._loads.append(msg.LoadTimers(item.before, item.timers[-1]))

    def _sweep(self) -> None:
        """Check that every run at work waits for something, and say so when one does not."""
        self._next_sweep = self.time + self.limits.sweep_ms
        if self.pools.gates:
            self.pools.forget_gates(self.runs)
        for run in list(self.runs.values()):
            if 0 < run.deadline <= self.time:
                self._decide(run, "sweep", decide.timer, DEADLINE_TIMER, 0)
            if run.status is RunStatus.RUNNING and not waits_for(run) and run.id not in self._pending:
                self._effects.append(msg.Notice("stuck", f"run {run.id} waits for nothing", run.id))
            elif run.agenda and run.id not in self._pending and run.id not in self._starved:
                run.todo.extend(run.agenda)
                self._decide(run, "sweep", progress)
            elif run.children and self.metas[run.id].status in AT_REST:
                # It was kept for the sake of its children, which may have left meanwhile.
                self._unchanged.append(run.id)

    # --- containment ----------------------------------------------------------------------------

    def _set_aside(self, run: str, error: str, cause: bytes, known: Run | None = None) -> None:
        self._pending.pop(run, None)
        self._starved.forget(run)
        self._quarantine[run] = (error, cause, known := self.runs.pop(run, known))
        self.families.set_aside(run, known, error)
        for process in self.pools.processes.values():
            for key in [key for key in (*process.holds, *process.peers) if key[0] == run]:
                self.pools.released(process, key)

    # --- what goes out --------------------------------------------------------------------------

    def ready(self) -> msg.Ready:
        """Return what was decided since the last time: give it to the store, then to ``advance``."""
        batch = Batch(epoch=self.epoch)
        blobs: dict[str, bytes] = {}
        effects = self._effects
        self._looks = 0
        dispatches: dict[str, msg.Dispatch] = {}
        for run_id, desk in self._pending.items():
            self._record(desk, batch)
            if desk.blobs:
                blobs.update(desk.blobs)
            for process, invocation in desk.dispatches:
                call = dispatches.get(process)
                if call is None:
                    held = self.pools.processes.get(process)
                    dispatches[process] = msg.Dispatch(process, [invocation], held is not None and held.alone)
                else:
                    call.invocations.append(invocation)
            if desk.stopping is not None:
                self._stop(run_id, desk.stopping)
        if self._quarantine:
            self._take_back()
        for run_id, (error, cause, run) in self._quarantine.items():
            self._record_quarantine(run_id, error, cause, run, batch, blobs)
            effects.append(msg.Notice("quarantined", error, run_id))
        if self.peers.pending:
            self.peers.record(batch)
        if self.schedules.pending:
            for schedule, its_meta, events, why in self.schedules.decided():
                self.recorder.schedule(schedule, its_meta, events, why, batch)
        self.recorder.seal(batch)
        self.clocks.left = MOST_AT_ONCE
        batch.timers_cleared.extend(self._stale)
        self._stale = []
        if batch.timers_set or batch.timers_cleared:
            self.clocks.changed(batch, self.time)
        if (self.pools.gates or self.pools.forgotten) and batch.records:
            batch.limits = [
                LimitRow(name, self.codec.pack(plain) if plain else b"") for name, plain in self.pools.started()
            ]
        for kept in batch.results:
            # It is looked for anew: the store has it from now on.
            self.cache.forget(stored_as(kept.key))
        batch.commands = list(self._commands.values())
        for row in batch.commands:
            row.offset = self.recorder.offset
        if self._mentions:
            batch.blob_refs += self._mentions
            self._mentions = []
        effects.extend(dispatches.values())
        effects.extend(self._replies)
        if self.peers.answers:
            effects.extend(self.peers.answered())
        effects.extend(msg.Acknowledge(process, keys) for process, keys in self._settled.items())
        self.cache.trim(self.limits.max_cached_bytes)
        ready = msg.Ready(batch, blobs, effects, leaves=bool(effects))
        self._pending, self._quarantine = {}, {}
        self._commands, self._replies, self._effects, self._settled = {}, [], [], {}
        return ready

    def _stop(self, run: str, stops: Stops) -> None:
        for process, path, fence in stops.asked:
            self._effects.append(msg.Cancel(process, [(run, path, fence)]))
        for process, path, fence in stops.killed:
            self._effects.append(msg.Cancel(process, [(run, path, fence)], kill=True))
        for process, path, fence in stops.closed:
            self._effects.append(msg.Cancel(process, [(run, path, fence)]))
            holder = self.pools.processes.get(process)
            if holder is not None:
                self.pools.released(holder, (run, path, fence))

    def _record(self, desk: Desk, batch: Batch) -> None:
        run, meta = desk.run, self.metas[desk.run.id]
        for timer in self.recorder.decided(desk, meta, batch):
            if timer[2] in meta.timers:
                self.clocks.add(timer, self.time)
            else:
                heappush(self._timers, timer)
        if desk.wakes is not None:
            for due, timer_name in desk.wakes:
                heappush(self._timers, (due, run.id, timer_name, 0))
        waits = run.manual or run.waits or run.children or run.machines
        if run.status is RunStatus.RUNNING and run.paused is None and not waits:
            status, waiting = RunStatus.RUNNING, ""
        else:
            status, waiting = row_of(run)
            if status is RunStatus.CREATED and run.id in self._admitting:
                status, waiting = RunStatus.PENDING, pending_row(run)
        if meta.active is not (status is RunStatus.RUNNING):
            meta.active = not meta.active
            self.active += 1 if meta.active else -1
        # A run that was reopened and failed again at once is told of anew: its error and its end are others.
        if status != meta.status or waiting != meta.waiting or (status is RunStatus.FAILED and desk.events):
            if meta.deadline or status is RunStatus.WAITING:
                self.recorder.deadline(run, meta, batch, at_rest=status is RunStatus.WAITING)
            self.recorder.row(run, meta, status, waiting, batch)
            if status in TERMINAL and run.id in self.schedules.watched:
                self.schedules.run_over(run.id, status)
        elif status in AT_REST or status in TERMINAL:
            self._unchanged.append(run.id)
        if meta.position - meta.snapshot_position > self.limits.snapshot_at_rest:
            self.recorder.snapshot(run, meta, batch)
        every = self.limits.checkpoint_ms if run.checkpoint_ms is None else run.checkpoint_ms
        if every and self.time - (meta.snapshot_at or meta.created_at) >= every:
            self.recorder.snapshot(run, meta, batch, due=True)

    def _take_back(self) -> None:
        """Refuse what was promised for runs that were struck out before it was stored."""
        for reply in self._replies:
            answer = reply.answer
            if isinstance(answer, Accepted) and answer.run in self._quarantine:
                error = self._quarantine[answer.run][0]
                reply.answer = Rejected(code="quarantined", message=f"run {answer.run} was set aside: {error}")
        self._commands = {
            id: row
            for id, row in self._commands.items()
            if self.codec.unpack(row.answer)["run"] not in self._quarantine
        }

    def _record_quarantine(
        self, run_id: str, error: str, cause: bytes, run: Run | None, batch: Batch, blobs: dict[str, bytes]
    ) -> None:
        if run_id in self.schedules.watched:
            self.schedules.run_over(run_id, RunStatus.QUARANTINED)
        meta = self.metas.pop(run_id, None)
        if meta is None:
            return
        if meta.active:
            self.active -= 1
        if meta.position:
            known = run or Run(run_id, self.store_id, self.codec)
            digest, content = self.recorder.quarantined(known, meta, error, cause, batch)
            blobs[digest] = content

    def advance(self, ready: msg.Ready) -> list[msg.Effect]:
        """The batch is stored: return what follows, and let runs go that have nothing to do."""
        for row in ready.batch.runs:
            if row.status in TERMINAL or (row.status in AT_REST and self._may_leave(row.run)):
                self._let_go(row.run)
        unchanged, self._unchanged = self._unchanged, []
        for run_id in unchanged:
            if self._may_leave(run_id):
                self._let_go(run_id)
        return ready.effects

    def _let_go(self, run_id: str) -> None:
        self.runs.pop(run_id, None)
        meta = self.metas.pop(run_id, None)
        if meta is not None and meta.deadline:
            self.clocks.add((meta.deadline, run_id, DEADLINE_TIMER, 0), self.time, cold=True)
        if meta is not None and meta.timers:
            for row in meta.timers.values():
                self.clocks.add((row.due, row.run, row.path, row.fence), self.time, cold=True)

    def _may_leave(self, run_id: str) -> bool:
        if run_id in self._pending or run_id in self._starved or run_id in self.clocks.near:
            return False
        run = self.runs.get(run_id)
        if run is None:
            return False
        if run.children and self.families.keeps(run):
            return False
        return run.status is RunStatus.QUARANTINED or (not run.open and holds_only_stored(run))


#: A record names at most so many of the inputs that led to it.
MAX_CAUSES = 4
#: The timeout of a run that may take no longer than this is watched to the millisecond.
CLOSE_MS = 600_000
#: A run that is in one of these has nothing to do.
AT_REST = frozenset({RunStatus.WAITING, RunStatus.PAUSED, RunStatus.CREATED, RunStatus.PENDING, RunStatus.QUARANTINED})
#: What carries out which command.
_STEERING: dict[type, Any] = {
    AnswerTask: decide.answer,
    PauseRun: steering.pause,
    ResumeRun: steering.resume,
    CancelRun: steering.cancel,
    RetryStep: reopening.retry,
    SetCheckpoints: steering.set_checkpoints,
    SetAttributes: attributes.set_attributes,
    SendSignal: people.signal,
    DecideApproval: people.decide,
    GrantAuthority: authorizing.grant,
    RevokeAuthority: authorizing.revoke,
    AskAuthority: authorizing.ask,
    RequeueRun: requeueing.requeue,
    RevisePlan: revising.revise,
    ExecuteStep: executing.execute,
    CommandMachine: decide.tell,
}
#: So many plans, and so many links, are kept for runs to come; those at work keep their own.
MAX_KEPT = 1_000
#: So many runs that were made lately are remembered by their ids.
MAX_MADE = 65_536
#: Instead of a token: a run that waited is promised its place while it is loaded.
PROMISED = -1
#: What stands for a blob that is not there.
MISSING = object()
#: Within one batch hands are given out so often: input is taken once, and again with all that had to be read for it.
MAX_LOOKS = 64


def _keep(kept: dict[str, Any], digest: str, value: Any, most: int = MAX_KEPT) -> None:
    """Keep something by its digest; the first goes when there are too many."""
    kept[digest] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _is_started(waiting: Iterable[msg.Input]) -> bool:
    """Say whether a run that is loaded is to be given its place at once."""
    return any(isinstance(item, msg.Request) and isinstance(item.command, StartRun) for item in waiting)


def _fail_starved(desk: Desk, path: str, error: Any) -> None:
    if path == "":
        fail_run(desk, error.to_plain(), "")
        progress(desk)
        return
    if path in desk.run.agenda:
        fail_before_start(desk, path, error)
    progress(desk)


def _fail_waiting(desk: Desk, path: str, error: Any) -> None:
    step = desk.run.steps.get(path)
    if step is not None and path in desk.run.agenda:
        if step.ask_of:
            desk.emit(ev.StepCancelled(path, 0, error.message))
            answered(desk, step, {}, error.message)
        elif step.fan is not None:
            cancel_inside(desk, path, error.message)
            desk.emit(ev.StepGaveUp(path, error.to_plain(), "pool"))
        else:
            attempt_failed(desk, step, error, 0.0)
    progress(desk)
