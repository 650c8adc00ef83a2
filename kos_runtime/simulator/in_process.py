"""One process that is host, partition and agents at once.

``InProcessHost`` runs it in real time: one engine thread, agents on their runners' own threads. ``VirtualHost`` runs it
in virtual time on the caller's thread: whatever an agent does takes no time, and waiting costs nothing. Both drive the
same partition through the same ``Host``; what Ray's host does by calls between processes is a queue here.

Nothing can end a thread. Where Ray's host ends a process, since an action in it does not stop, this one leaves its threads
behind and puts another set of them in its place: what else they did is done again, and nothing of them is heard any more.
"""

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from kos_runtime.core.errors import StoreError
from kos_runtime.core.failpoint import hit
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.workflow.commands import Answer, Command, Rejected
from kos_runtime.engine import messages as msg
from kos_runtime.engine.host import Host
from kos_runtime.simulator.clock import VirtualClock
from kos_runtime.simulator.peering import PeerNet

#: A batch of input ends at so many.
_MAX_BATCH = 1_024
#: The engine looks at the clock at least so often, in seconds.
_MAX_SLEEP = 1.0
#: A body that runs on so long after its timeout, in seconds, has its threads left behind.
WEDGED_S = 10.0
#: So often at most; from then on hands that are stuck stay so.
MAX_LEFT = 64


class Clock(Protocol):
    def now(self) -> int: ...


class BatchResult(Protocol):
    """What a runner says of a batch: what has ended, and (run, path, fence) of what still runs."""

    @property
    def outcomes(self) -> list[Outcome]: ...
    @property
    def running(self) -> list[tuple[str, str, int]]: ...


class Runner(Protocol):
    """What executes invocations: the same as inside a Ray agent actor."""

    def submit(self, invocations: Sequence[Invocation]) -> object:
        """Begin invocations; outcomes are handed to whoever made the runner."""
        ...

    def run_batch(self, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> BatchResult: ...

    def cancel(self, run: str, path: str, fence: int) -> object: ...

    def acknowledge(self, keys: Sequence[tuple[str, str, int]]) -> object: ...

    def close(self) -> object: ...


class RunnerOnThreads(Runner, Protocol):
    """One whose actions may run on although they are to stop."""

    def running(self) -> list[tuple[str, str, int]]: ...

    def wedged(self, grace_s: float) -> list[tuple[str, str, int]]:
        """Return attempts whose bodies run on, though they were to have stopped so long ago."""
        ...


#: Makes the runner of a new process: what is asked for, and where its outcomes go.
MakeRunner = Callable[[msg.StartProcess, Callable[[list[Outcome]], None]], Runner]
MakeRunnerOnThreads = Callable[[msg.StartProcess, Callable[[list[Outcome]], None]], RunnerOnThreads]
_R = TypeVar("_R", bound=Runner)


class _Processes(Generic[_R]):
    """The processes that are none: runners by name."""

    def __init__(self, make: Callable[[msg.StartProcess, Callable[[list[Outcome]], None]], _R], hands: int) -> None:
        self.make = make
        self.hands = hands
        self.count = 0
        self.runners: dict[str, _R] = {}

    def start(self, effect: msg.StartProcess, on_late: Callable[[str, list[Outcome]], None]) -> msg.Input:
        self.count += 1
        name = f"{effect.kind}-{self.count}"
        try:
            self.runners[name] = self.make(effect, lambda outcomes: on_late(name, outcomes))
        except Exception as error:
            return msg.PoolFailed(effect.pool, f"{effect.kind} cannot be made: {type(error).__name__}: {error}")
        return msg.ProcessUp(name, effect.pool, self.hands)

    def close(self) -> None:
        for runner in self.runners.values():
            runner.close()


class _Threads(_Processes[RunnerOnThreads]):
    """Processes that are sets of threads."""

    left = 0

    def leave(self, name: str, path: str) -> list[msg.Input]:
        """Give up a process whose action ``path`` does not stop; return what is to be told of it."""
        if name not in self.runners or self.left >= MAX_LEFT:
            return []
        self.left += 1
        runner = self.runners.pop(name)
        for key in runner.running():
            runner.cancel(*key)
        runner.close()
        return [msg.ProcessDown(name, f"{name} was left behind because {path} did not stop", ended=True)]


class InProcessHost:
    """See the module. ``request`` may be called from any thread; ``on_notice`` is called on the engine's."""

    def __init__(
        self,
        host: Host,
        clock: Clock,
        make_runner: MakeRunnerOnThreads,
        *,
        hands: int = 4,
        on_notice: Callable[[msg.Notice], None] | None = None,
    ) -> None:
        self.host = host
        self.clock = clock
        self.failure: BaseException | None = None
        self._processes = _Threads(make_runner, hands)
        self._on_notice = on_notice or (lambda _: None)
        self._inbox: SimpleQueue[msg.Input | None] = SimpleQueue()
        self._waiting: dict[int, SimpleQueue[Answer]] = {}
        self._tokens = 0
        self._lock = threading.Lock()
        self._peers = PeerNet(host.codec, host.blobs.put, ask=self._ask, stop=self._stop)
        self._idle = threading.Event()
        self._stopped = False
        self._looked = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="kos-engine", daemon=True)
        self._inbox.put(msg.Reconciled())
        self._thread.start()

    def request(self, command: Command, *, command_id: str = "", timeout: float = 30.0) -> Answer:
        """Give a command to the engine and return its answer, which is durable by then.

        Raises:
            TimeoutError: No answer came within ``timeout`` seconds.
        """
        mailbox: SimpleQueue[Answer] = SimpleQueue()
        with self._lock:
            self._tokens += 1
            token = self._tokens
            self._waiting[token] = mailbox
        self._idle.clear()
        self._inbox.put(msg.Request(token, command_id, command))
        try:
            return mailbox.get(timeout=timeout)
        except Empty:
            if self.failure is not None:
                return Rejected(code="storage", message=str(self.failure))
            raise TimeoutError(f"the engine gave no answer within {timeout} s") from None
        finally:
            self._waiting.pop(token, None)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no run is at work; say whether that came to pass within so many seconds."""
        return self._idle.wait(timeout)

    def close(self) -> None:
        """Stop after what is at hand. Attempts that still run are found again by whoever comes next."""
        self._stopped = True
        self._inbox.put(None)
        self._thread.join(timeout=10.0)
        self._processes.close()

    def _run(self) -> None:
        try:
            while not self._stopped:
                batch = self._gather()
                for effect in self.host.cycle(batch, self.clock.now()):
                    self._perform(effect)
                if self._peers.processes:
                    for item in self._peers.flush(self.clock.now()):
                        self._inbox.put(item)
                if self._inbox.empty() and self.host.partition.is_idle():
                    self._idle.set()
        except BaseException as error:
            # A fence, or a store whose answer is unknown: this host is over. Whoever waits is told.
            self.failure = error
            self._idle.set()
            for mailbox in list(self._waiting.values()):
                mailbox.put(Rejected(code="storage", message=str(error)))
            if not isinstance(error, StoreError):
                raise

    def _gather(self) -> list[msg.Input]:
        due = self.host.partition.next_due()
        peers = self._peers.next_due()
        if peers is not None and (due is None or peers < due):
            due = peers
        sleep = _MAX_SLEEP if due is None else min(max((due - self.clock.now()) / 1_000, 0.0), _MAX_SLEEP)
        batch: list[msg.Input] = []
        try:
            item = self._inbox.get(timeout=sleep) if sleep > 0 else self._inbox.get_nowait()
            while True:
                if isinstance(item, msg.Outcomes):
                    # What peers' agents were asked for is theirs.
                    item.outcomes = self._peers.answered(item.process, item.outcomes)
                if isinstance(item, msg.ProcessDown):
                    self._peers.gone(item.process)
                if item is not None:
                    batch.append(item)
                if len(batch) >= _MAX_BATCH:
                    break
                item = self._inbox.get_nowait()
        except Empty:
            pass
        if time.monotonic() - self._looked >= _MAX_SLEEP:
            batch += (wedged := self._wedged())
            for item in wedged:
                if isinstance(item, msg.ProcessDown):
                    self._peers.gone(item.process)
        return batch

    def _wedged(self) -> list[msg.Input]:
        """Leave behind whoever has a body that runs on long after it was to have stopped."""
        self._looked = time.monotonic()
        found: list[msg.Input] = []
        for name, runner in list(self._processes.runners.items()):
            stuck = runner.wedged(WEDGED_S)
            if stuck:
                found += self._processes.leave(name, stuck[0][1])
        return found

    def _ask(self, process: str, invocations: list[Invocation]) -> None:
        runner = self._processes.runners.get(process)
        if runner is not None:
            runner.submit(invocations)

    def _stop(self, process: str, keys: list[tuple[str, str, int]]) -> None:
        runner = self._processes.runners.get(process)
        if runner is not None:
            for key in keys:
                runner.cancel(*key)

    def _late(self, process: str, outcomes: list[Outcome]) -> None:
        if process in self._processes.runners:
            self._inbox.put(msg.Outcomes(process, outcomes))

    def _perform(self, effect: msg.Effect) -> None:
        match effect:
            case msg.Dispatch(process=process, invocations=invocations):
                hit("dispatch.before")
                work = self._peers.begin(process, invocations)
                runner = self._processes.runners.get(process)
                if runner is not None and work:
                    # One that was left behind in the same moment is told of to the partition already.
                    runner.submit(work)
                hit("dispatch.after")
            case msg.Reply(token=token, answer=answer):
                hit("answer.before")
                mailbox = self._waiting.get(token)
                if mailbox is not None:
                    mailbox.put(answer)
                hit("answer.after")
            case msg.PeerAnswer():
                self._peers.told(effect, self.clock.now())
            case msg.Acknowledge(process=process, attempts=attempts):
                self._peers.acknowledge(process, attempts)
                runner = self._processes.runners.get(process)
                if runner is not None:
                    runner.acknowledge(attempts)
            case msg.StartProcess():
                self._inbox.put(self._processes.start(effect, self._late))
            case msg.Cancel(process=process, attempts=attempts, kill=kill):
                runner = self._processes.runners.get(process)
                if runner is not None:
                    for attempt in attempts:
                        if not self._peers.cancel(process, attempt, self.clock.now()):
                            runner.cancel(*attempt)
                if kill:
                    for told in self._processes.leave(process, attempts[0][1]):
                        self._inbox.put(told)
            case msg.Notice():
                self._on_notice(effect)


class VirtualHost:
    """See the module. ``run_until_idle`` does everything that can be done, moving the clock where it must."""

    def __init__(self, host: Host, clock: VirtualClock, make_runner: MakeRunner, *, hands: int = 4) -> None:
        self.host = host
        self.clock = clock
        self.answers: dict[int, Answer] = {}
        self.notices: list[msg.Notice] = []
        self._processes: _Processes[Runner] = _Processes(make_runner, hands)
        self._inbox: list[msg.Input] = [msg.Reconciled()]
        self._tokens = 0
        self.peers = PeerNet(host.codec, host.blobs.put, ask=self._ask, stop=self._stop)

    def request(self, command: Command, *, command_id: str = "") -> Answer:
        """Give a command to the engine, and return its answer."""
        self._tokens += 1
        token = self._tokens
        self._inbox.append(msg.Request(token, command_id, command))
        while token not in self.answers:
            self.step()
        return self.answers.pop(token)

    def put(self, item: msg.Input) -> None:
        """Put something in by hand, such as a process that dies."""
        self._inbox.append(item)

    def step(self) -> bool:
        """Do one round; say whether anything came of it or is left to do."""
        batch, self._inbox = self._inbox, []
        for item in batch:
            if isinstance(item, msg.ProcessDown):
                self.peers.gone(item.process)
        effects = self.host.cycle(batch, self.clock.now())
        for effect in effects:
            self._perform(effect)
        if self.peers.processes:
            self._inbox += self.peers.flush(self.clock.now())
        return bool(batch or effects or self._inbox)

    def run_until_idle(self, *, rounds: int = 100_000) -> None:
        """Go on until no run is at work.

        Raises:
            TimeoutError: That did not come to pass within so many rounds.
        """
        for _ in range(rounds):
            if not self.step() and not self._inbox:
                if self.host.partition.is_idle():
                    return
                due = self.host.partition.next_due()
                peers = self.peers.next_due()
                if peers is not None and (due is None or peers < due):
                    due = peers
                self.clock.advance_to(max(due or 0, self.clock.now() + 1))
        raise TimeoutError(f"runs are still at work after {rounds} rounds")

    def close(self) -> None:
        self._processes.close()

    def _ask(self, process: str, invocations: list[Invocation]) -> None:
        runner = self._processes.runners.get(process)
        if runner is not None:
            rest = self.peers.answered(process, list(runner.run_batch(invocations, wait_ms=60_000.0).outcomes))
            assert not rest

    def _stop(self, process: str, keys: list[tuple[str, str, int]]) -> None:
        runner = self._processes.runners.get(process)
        if runner is not None:
            for key in keys:
                runner.cancel(*key)

    def _perform(self, effect: msg.Effect) -> None:
        match effect:
            case msg.Dispatch(process=process, invocations=invocations):
                work = self.peers.begin(process, invocations)
                runner = self._processes.runners.get(process)
                if runner is not None and work:
                    result = runner.run_batch(work, wait_ms=60_000.0)
                    self._inbox.append(msg.Outcomes(process, list(result.outcomes)))
            case msg.PeerAnswer():
                self.peers.told(effect, self.clock.now())
            case msg.Reply(token=token, answer=answer):
                self.answers[token] = answer
            case msg.Acknowledge(process=process, attempts=attempts):
                self.peers.acknowledge(process, attempts)
                runner = self._processes.runners.get(process)
                if runner is not None:
                    runner.acknowledge(attempts)
            case msg.StartProcess():
                self._inbox.append(self._processes.start(effect, lambda *_: None))
            case msg.Notice():
                self.notices.append(effect)
            case msg.Cancel(process=process, attempts=attempts, kill=kill):
                runner = self._processes.runners.get(process)
                if runner is None:
                    return
                for attempt in attempts:
                    if not self.peers.cancel(process, attempt, self.clock.now()):
                        runner.cancel(*attempt)
                if kill:
                    self._processes.runners.pop(process).close()
                    self._inbox.append(msg.ProcessDown(process, f"{process} was ended", ended=True))
