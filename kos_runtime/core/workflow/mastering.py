"""A step whose items or parts are tasks of a master: the machine ``assignment`` says who does which, and when again.

The machine is the master; the partition speaks for the workers: each is a process of the pool, for as long as that lives.
A lease is an attempt whose fence is the lease's epoch, so a result counts exactly when its lease is open. A worker shows
that it is alive as long as its process is heard of; one that falls silent loses its leases by the master's own timer, and
whoever dies loses them at once. What becomes of a task that failed is said by the step's policy; where that says to try again, the
master says who does.
"""

from collections import deque
from typing import Any, Final

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.machine import Began, Commanded, Received, UnknownMachine, machine_named
from kos_runtime.core.plan.model import Mastery
from kos_runtime.core.terms import written
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import machining
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import dispatch, dispatch_first, linked, names_of
from kos_runtime.core.workflow.held import Held
from kos_runtime.core.workflow.sparing import is_spare, spare_path
from kos_runtime.core.workflow.state import AGAIN, ITEMS, Run, StepState

#: The machine, and the name of the node that assigns.
ASSIGNMENT: Final = "assignment"
MASTER: Final = "master"
#: So many attempts of one start together.
MAX_STARTS: Final = 256
#: A worker has at most so much at hand.
MAX_ROOM: Final = 256
#: Beside the retries of its policy a task may lose so many attempts with their workers.
MAX_LOSSES: Final = 16


class Crew:
    """The workers of one step in this process; nothing of it is folded."""

    __slots__ = ("given", "lease_ms", "pool", "process_of", "queues", "rooms", "seen", "worker_of", "workers")

    def __init__(self, pool: str, form: Mastery) -> None:
        self.pool, self.lease_ms, self.workers = pool, form.lease_ms, form.workers
        #: Workers whose processes are there, both ways.
        self.process_of: dict[str, str] = {}
        self.worker_of: dict[str, str] = {}
        #: Processes that were there: one of them that is not is gone.
        self.seen: set[str] = set()
        #: What a worker was told that it may have at hand.
        self.rooms: dict[str, int] = {}
        #: epoch → (index, worker) of each lease that is open.
        self.given: dict[int, tuple[int, str]] = {}
        #: Leases that are to be given out, by worker.
        self.queues: dict[str, deque[int]] = {}


def crew_of(run: Run, path: str) -> Held | None:
    """Return the master of an item or a part, if it has one and is still its task."""
    base, bracket, _ = path.rpartition("[")
    held: Held | None = run.machines.get(base) if bracket else None
    return held if held is not None and held.crew is not None else None


def is_leased(run: Run, step: StepState) -> bool:
    """Say whether a step's next attempt is its master's to give."""
    return step.index >= 0 and not step.left and not step.beside and crew_of(run, step.path) is not None


# --- the step's turn ----------------------------------------------------------------------------


def conduct(desk: Desk, step: StepState, form: Mastery) -> bool:
    """Have the master know who is there, and give out what it has leased; return whether it could be asked."""
    machines: dict[str, Held] = desk.run.machines
    held = machines.get(step.path) or _open(desk, step, form)
    if held is None:
        return False
    if held.crew is None:
        held.crew = _crew(desk, step, form)
    if not held.alive:
        machining.wake(desk, held)
    if held.outcome is None and machines.get(step.path) is held:
        _meet(desk, step, held)
    if machines.get(step.path) is held:
        _give_out(desk, step, held)
    if held.outcome is not None and machines.get(step.path) is held:
        _give_up(desk, step, held)
    return machines.get(step.path) is held


def _crew(desk: Desk, step: StepState, form: Mastery) -> Crew:
    return Crew(linked(desk, *names_of(step))[0].pool, form)


def _open(desk: Desk, step: StepState, form: Mastery) -> Held | None:
    run, fan = desk.run, step.fan
    assert fan is not None
    assert run.program is not None
    tasks = [str(index) for index in [*fan.again, *range(fan.next, fan.count)]]
    retries = max((run.program.plan.policies[index].max_retries for index in step.node.step.policies), default=0)
    try:
        machine: Any = machine_named(ASSIGNMENT)
        setup = machine.assigned(
            tasks, form.workers, master=MASTER, lease_ms=form.lease_ms, max_attempts=1 + retries + MAX_LOSSES,
            idempotent=form.speculate, seed=run.seed,
        )  # fmt: skip
    except (UnknownMachine, ValueError) as problem:
        error = failure(ErrorType.RESOURCE, f"{step.path}: {problem}", step=step.path, recoverable=False)
        desk.emit(ev.StepGaveUp(step.path, error.to_plain(), "machine"))
        return None
    desk.emit(ev.MachineOpened(step.path, ASSIGNMENT, machine.version, written(setup), [MASTER]))
    held: Held = run.machines[step.path]
    held.crew = _crew(desk, step, form)
    held.alive = True
    machining.drive(desk, held, [(MASTER, Began(1))])
    opened: Held | None = run.machines.get(step.path)
    return opened


def _meet(desk: Desk, step: StepState, held: Held) -> None:
    """Workers take their places as processes come, and are told how much they may have at hand."""
    crew: Crew = held.crew
    machine: Any = held.machine
    members = desk.pools.members(crew.pool)
    if len(crew.seen) != len(members) or any(process not in crew.seen for process, _ in members):
        there = {process for process, _ in members}
        for process in [process for process in crew.worker_of if process in crew.seen and process not in there]:
            # It died with nothing of this step in its hands.
            _leave(desk, held, crew, crew.worker_of[process], f"{process} is gone")
        crew.seen = there
    for process, may_hold in members:
        worker = crew.worker_of.get(process)
        if worker is None:
            worker = next((name for name in crew.workers if name not in crew.process_of), None)
            if worker is None:
                break
            crew.worker_of[process], crew.process_of[worker] = worker, process
        room = min(1 << max(may_hold.bit_length() - 1, 0), MAX_ROOM)
        known = crew.rooms.get(worker)
        if known == room:
            continue
        crew.rooms[worker] = room
        _say(desk, held, worker, machine.room(room))
        if known is None:
            _say(desk, held, worker, machine.hello())
    if len(crew.process_of) < len(crew.workers):
        desk.pools.wants_more(crew.pool, desk.run.id, step.path)


def _give_out(desk: Desk, step: StepState, held: Held) -> None:
    crew: Crew = held.crew
    for worker, queue in list(crew.queues.items()):
        process = crew.process_of.get(worker)
        if process is None:
            continue
        for _ in range(len(queue)):
            if len(desk.dispatches) >= MAX_STARTS:
                desk.run.todo.append(step.path)
                return
            epoch = queue.popleft()
            given = crew.given.get(epoch)
            if given is None:
                continue
            if not _may_start(desk.run, step, crew, given[0]):
                queue.append(epoch)
                continue
            if not _start(desk, step, held, epoch, given[0], process):
                queue.appendleft(epoch)
                break


def _give_up(desk: Desk, step: StepState, held: Held) -> None:
    """The master has come to its end: what it gave up, since its workers were lost again and again, has failed."""
    assert held.outcome is not None
    run = desk.run
    for name, message in held.outcome[0]["failed"]:
        index, path = int(name), f"{step.path}[{name}]"
        item = run.steps.get(path)
        if _is_over(step, index) or (item is not None and item.left):
            # Its end was decided by the step's policy, or others see to it.
            continue
        if (fence := run.open.get(path)) is not None:
            desk.stops.closed.append((run.steps[path].agent, path, fence))
        problem = f"given up, its workers were lost {MAX_LOSSES} times or more: {message}"
        error = failure(ErrorType.RESOURCE, problem, step=path, recoverable=False)
        desk.emit(ev.StepGaveUp(path, error.to_plain(), "max_losses"))
        _call_off_spare(desk, held, path)


def _may_start(run: Run, step: StepState, crew: Crew, index: int) -> bool:
    """Say whether a leased task can be given out: none of its attempts is open, and no backoff keeps it; or, with one
    that takes long, none beside that.
    """
    path = f"{step.path}[{index}]"
    item = run.steps.get(path)
    if item is None or item.left or run.agenda.get(path) == AGAIN:
        return True
    return run.open.get(path, 0) - run.fences in crew.given and spare_path(path) not in run.steps


def _start(desk: Desk, step: StepState, held: Held, epoch: int, index: int, process: str) -> bool:
    """Give a task to a process; return False when it has no room."""
    run = desk.run
    crew: Crew = held.crew
    path = f"{step.path}[{index}]"
    item = run.steps.get(path)
    if (item is not None and item.left) or _is_over(step, index):
        settle(desk, path, run.fences + epoch)
        return True
    fence = run.fences + epoch
    if item is not None and path in run.open:
        return _start_beside(desk, step, held, item, epoch, process)
    if item is not None and item.fence >= fence:
        # It was given out before what was open was taken over: the master has to lease it anew.
        _end(desk, held, epoch, "it is given out anew")
        return True
    alone = item is not None and item.kills > 0
    priority = step.node.step.priority
    if not desk.pools.room_at(crew.pool, process, run.id, step.path, alone=alone, priority=priority):
        return False
    started = dispatch_first(desk, step, index, lease=epoch) if item is None else dispatch(
        desk, item, has_room=True, lease=epoch
    )  # fmt: skip
    if started and run.open.get(path) != fence:
        # It is over without an attempt: its result was kept, or it could not begin.
        settle(desk, path, fence)
    return started


def _start_beside(desk: Desk, step: StepState, held: Held, item: StepState, epoch: int, process: str) -> bool:
    """Give a task that takes long to a second worker."""
    run, crew = desk.run, held.crew
    if not desk.pools.room_at(crew.pool, process, run.id, step.path, priority=step.node.step.priority):
        return False
    spare = spare_path(item.path)
    desk.emit(ev.SpareStarted(item.path, spare))
    if dispatch(desk, run.steps[spare], has_room=True, lease=epoch) and run.open.get(spare) == run.fences + epoch:
        return True
    if spare in run.steps:
        desk.emit(ev.StepCancelled(spare, 0, "it cannot begin now"))
    if epoch in crew.given:
        _end(desk, held, epoch, "it cannot begin now")
    return True


def _is_over(step: StepState, index: int) -> bool:
    fan = step.fan
    assert fan is not None
    return index in fan.results or index in fan.skipped or any(failed == index for failed, *_ in fan.failures)


# --- what comes of attempts ---------------------------------------------------------------------


def settle(desk: Desk, path: str, fence: int) -> None:
    """Tell the master what has come of the attempt of one of its tasks."""
    run = desk.run
    held = crew_of(run, path)
    if held is None:
        return
    crew: Crew = held.crew
    epoch = fence - run.fences
    item = run.steps.get(path)
    if item is None and not is_spare(path):
        _call_off_spare(desk, held, path)
    given = crew.given.get(epoch)
    if given is None:
        return
    if is_spare(path):
        _settle_spare(desk, held, item, epoch)
    elif item is not None:
        message = "" if item.error is None else str(item.error.get("message", ""))
        _end(desk, held, epoch, message[:500] or "it failed", final=item.left)
    elif (fan := run.steps[held.path].fan) is not None and given[0] in fan.results:
        _end(desk, held, epoch, "")
    else:
        _end(desk, held, epoch, "it failed for good", final=True)


def _settle_spare(desk: Desk, held: Held, spare: StepState | None, epoch: int) -> None:
    run = desk.run
    if spare is None:
        _end(desk, held, epoch, "the second attempt failed")
        return
    first = run.steps[spare.of]
    fence = run.open.get(first.path)
    if fence is not None:
        desk.stops.closed.append((first.agent, first.path, fence))
    desk.emit(ev.SpareWon(first.path, spare.path))
    _end(desk, held, epoch, "")


def _call_off_spare(desk: Desk, held: Held, path: str) -> None:
    """A task is over: nobody needs its second attempt any more."""
    run = desk.run
    spare = run.steps.get(spare_path(path))
    if spare is None:
        return
    fence = run.open.get(spare.path)
    if fence is not None:
        desk.stops.closed.append((spare.agent, spare.path, fence))
    desk.emit(ev.StepCancelled(spare.path, fence or 0, "its task is over"))
    if fence is not None and fence - run.fences in held.crew.given:
        _end(desk, held, fence - run.fences, "its task is over", final=True)


def lost(desk: Desk, path: str, fence: int, cause: str) -> None:
    """The process that had an attempt is gone: so is the worker, until another process takes its place."""
    run = desk.run
    held = crew_of(run, path)
    if held is None:
        return
    crew: Crew = held.crew
    item = run.steps.get(path)
    worker = None if item is None else crew.worker_of.get(item.agent)
    if worker is not None and item is not None and all(name != item.agent for name, _ in desk.pools.members(crew.pool)):
        _leave(desk, held, crew, worker, cause)
    elif fence - run.fences in crew.given:
        _end(desk, held, fence - run.fences, cause, final=item is not None and item.left)
    if held.path in run.machines:
        _put(run, held.path)


def _leave(desk: Desk, held: Held, crew: Crew, worker: str, cause: str) -> None:
    machine: Any = held.machine
    del crew.worker_of[crew.process_of.pop(worker)]
    crew.rooms.pop(worker, None)
    machining.drive(desk, held, [(MASTER, Commanded(machine.failed(worker, cause[:500])))])


def _end(desk: Desk, held: Held, epoch: int, error: str, *, final: bool = False) -> None:
    """Have a worker say what has come of a lease."""
    machine: Any = held.machine
    index, worker = held.crew.given.pop(epoch)
    _say(desk, held, worker, machine.result(index, epoch, error, final=final))


def _say(desk: Desk, held: Held, worker: str, body: Any) -> None:
    number = held.numbers[worker] = held.numbers.get(worker, 0) + 1
    said = Received(Envelope(worker, MASTER, number, held.life, body, held.path))
    machining.drive(desk, held, [(MASTER, said)])


# --- what the master wants ----------------------------------------------------------------------


def order(desk: Desk, held: Held, worker: str, body: Any) -> None:
    """Do what the master tells a worker: begin with a task when there is room, or stop."""
    machine: Any = held.machine
    said = machine.order(body)
    if said is None:
        return
    begins, name, epoch = said
    if not begins:
        _stop(desk, held, epoch)
        return
    run, crew, index = desk.run, held.crew, int(name)
    path = f"{held.path}[{index}]"
    crew.given[epoch] = index, worker
    spare = spare_path(path)
    if run.open.get(spare) == run.fences + epoch:
        path = spare
    if run.open.get(path) == run.fences + epoch:
        # It is at work on it since before this process was the partition's.
        process = run.steps[path].agent
        if worker not in crew.process_of and process not in crew.worker_of:
            crew.process_of[worker], crew.worker_of[process] = process, worker
        return
    queue = crew.queues.get(worker)
    if queue is None:
        queue = crew.queues[worker] = deque()
    queue.append(epoch)
    _put(run, held.path)


def _stop(desk: Desk, held: Held, epoch: int) -> None:
    """A lease is over: whoever is at work under it may stop. What was in a process that is gone is told of otherwise."""
    run, crew = desk.run, held.crew
    given = crew.given.pop(epoch, None)
    if given is None:
        return
    path, fence = f"{held.path}[{given[0]}]", run.fences + epoch
    if run.open.get(spare_path(path)) == fence:
        spare = run.steps[spare_path(path)]
        desk.stops.closed.append((spare.agent, spare.path, fence))
        desk.emit(ev.StepCancelled(spare.path, fence, "its lease is over"))
        return
    item = run.steps.get(path)
    if item is None or run.open.get(path) != fence:
        return
    if any(name == item.agent for name, _ in desk.pools.members(crew.pool)):
        desk.stops.closed.append((item.agent, path, fence))
        desk.emit(ev.StepRedispatched(path, fence, "its lease is over"))


def renew(desk: Desk, held: Held) -> None:
    """Have every worker whose process was heard of in time say that it is alive."""
    machine: Any = held.machine
    crew: Crew = held.crew
    for worker, process in list(crew.process_of.items()):
        if desk.pools.silent_ms(process) >= crew.lease_ms:
            continue
        epochs = tuple(epoch for epoch, (_, whose) in crew.given.items() if whose == worker)
        if epochs:
            _say(desk, held, worker, machine.alive(epochs))


def _put(run: Run, path: str) -> None:
    run.agenda[path] = ITEMS
    if not run.todo or run.todo[-1] != path:
        run.todo.append(path)
