"""Compare-and-append, on which ``agreement: log`` stands: histories of several writers must be explained by some order.

Each writer reads the head, claims, and appends under an epoch and at an offset that may be outdated meanwhile. Half of the
histories are of a log in memory whose appends are refused, lost, stored and unanswered, or late; the others of a real file,
with a writer in each of three threads, and a file system that fails now and then.
"""

import contextlib
import shutil
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core.chain import EMPTY
from kos_runtime.core.errors import AppendConflict, AppendUnknown, Fenced, KosError
from kos_runtime.testing.log_builder import LogBuilder
from tests.adapters.faulty_vfs import FaultyVFS, io_error
from tests.proof.linear import NEVER, Operation, contradiction

CLIENTS: Final = 3
#: Operations of one history, at most.
MOST: Final = 200
#: One of so many histories is of a file.
FILES: Final = 40
_WAL: Final = 48 << 10
#: No epoch of one's own: whoever appends under it is told so.
_NONE: Final = -1

#: Epoch, offset, link.
State = tuple[int, int, bytes]


def step(state: State, op: Operation) -> State | None:
    """Return what an operation makes of the log, if that is what it was told."""
    epoch, offset, link = state
    kind, *given = op.what
    result = op.result
    if kind == "head":
        return state if result == (offset, link) else None
    if kind == "epoch":
        return state if result == epoch else None
    if kind == "claim":
        (expected,) = given
        if result is None or result == "done":
            return (epoch + 1, offset, link) if epoch == expected else None
        return state if result == ("fenced", epoch) and epoch != expected else None
    its_epoch, first, count, its_link = given
    if result is None or result == "done":
        return (epoch, offset + count, its_link) if epoch == its_epoch and first == offset + 1 else None
    if result == ("fenced", epoch):
        return state if epoch != its_epoch else None
    return state if result == ("conflict", offset + 1) and epoch == its_epoch and first != offset + 1 else None


class Client:
    """One writer: what it knows, and what it does next. A ``strict`` one appends under epochs alone that it has claimed."""

    def __init__(self, number: int, draw: Random, history: list[Operation], clock: Any, *, strict: bool) -> None:
        self.number, self.draw, self.history, self.clock, self.strict = number, draw, history, clock, strict
        self.seen, self.epoch, self.offset, self.link = 0, _NONE, 0, EMPTY
        self.made = 0

    def act(self, store: Any) -> None:
        """Do one thing.

        Raises:
            AppendUnknown: The store is to be opened again.
        """
        chance = self.draw.random()
        if chance < 0.25:
            head = self._do(("head",), lambda: _head(store))
            if head is not None:
                self.offset, self.link = head
        elif chance < 0.35:
            epoch = self._do(("epoch",), lambda: store.lease().epoch)
            self.seen = self.seen if epoch is None else epoch
            self.epoch = self.epoch if self.strict else self.seen
        elif chance < (0.8 if self.epoch == _NONE else 0.45):
            expected = self.seen
            if self._do(("claim", expected), lambda: _done(store.claim(expected, f"client-{self.number}"))) == "done":
                self.seen = self.epoch = expected + 1
        else:
            self._append(store)

    def _append(self, store: Any) -> None:
        builder = LogBuilder(epoch=self.epoch, offset=self.offset, link=self.link)
        self.made += 1
        names = [f"run/{self.number}-{self.made}-{place}" for place in range(self.draw.choice((1, 1, 3)))]
        batch = builder.batch(*names)
        what = ("append", self.epoch, self.offset + 1, len(names), builder.link)
        if self._do(what, lambda: _done(store.append(batch))) == "done":
            self.offset, self.link = builder.offset, builder.link

    def _do(self, what: Any, call: Any) -> Any:
        begin = self.clock()
        try:
            result: Any = call()
        except Fenced as error:
            self.seen = error.current
            result = ("fenced", error.current)
        except AppendConflict as error:
            result = ("conflict", error.actual_offset)
        except AppendUnknown:
            self.history.append(Operation(begin, NEVER, self.number, what, None))
            self.epoch = _NONE
            raise
        except KosError:
            # Refused for certain: nothing took place.
            return None
        self._note(begin, what, result)
        return result

    def _note(self, begin: int, what: Any, result: Any) -> None:
        self.history.append(Operation(begin, self.clock(), self.number, what, result))


def _done(answer: Any) -> str:
    del answer
    return "done"


def _head(store: Any) -> tuple[int, bytes]:
    head = store.head()
    return head.offset, head.link


_FAULTS: Final = (Fault.FULL, Fault.BUSY, Fault.LOST, Fault.STORED, *(None,) * 7)


def in_memory(seed: int) -> list[Operation]:
    """Several writers of one log in memory, one operation after the other."""
    draw = Random(f"{seed}/memory")
    # What comes late, comes when somebody else claims: that supposes one writer an epoch.
    strict = draw.random() < 0.5
    faults = (*_FAULTS, Fault.LATE) if strict else _FAULTS
    log = MemoryLog("store-1", faults=lambda _: draw.choice(faults))
    history: list[Operation] = []
    ticks = iter(range(1 << 30))
    clients = [Client(number, draw, history, lambda: next(ticks), strict=strict) for number in range(CLIENTS)]
    stores = [MemoryEventStore(log) for _ in clients]
    for _ in range(draw.randint(MOST // 4, MOST)):
        client = draw.choice(clients)
        try:
            client.act(stores[client.number])
        except AppendUnknown:
            stores[client.number] = MemoryEventStore(log)
    return history


def of_a_file(seed: int) -> list[Operation]:
    """Writers in threads, each with a file of its own opened, all on one store."""
    draw = Random(f"{seed}/file")
    folder = Path(tempfile.mkdtemp(prefix="kos-histories-"))
    vfs = FaultyVFS()
    trouble = Random(f"{seed}/trouble")

    def judge(call: str, _file: str) -> BaseException | None:
        return io_error() if call == "xWrite" and trouble.random() < 0.004 else None

    history: list[Operation] = []
    tuning = Tuning("OFF", wal_bytes=_WAL, busy_timeout_ms=200, vfs=vfs.vfs_name, owned=False)
    errors: list[str] = []

    def opened() -> SqliteEventStore:
        return SqliteEventStore.open(folder / "store", wall=lambda: 0, store_id="store-1", tuning=tuning)

    def live(client: Client, times: int) -> None:
        store: SqliteEventStore | None = None
        try:
            for _ in range(times):
                try:
                    store = store or opened()
                    client.act(store)
                except AppendUnknown:
                    with contextlib.suppress(apsw.Error):
                        if store is not None:
                            store.close()
                    store = None
                except KosError:
                    # It could not be opened just now.
                    continue
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(apsw.Error):
                if store is not None:
                    store.close()

    try:
        opened().close()
        vfs.judge = judge
        clients = [
            Client(number, Random(f"{seed}/{number}"), history, time.monotonic_ns, strict=False)
            for number in range(CLIENTS)
        ]
        times = draw.randint(10, MOST // CLIENTS)
        threads = [threading.Thread(target=live, args=(client, times)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        vfs.judge = lambda _call, _file: None
        vfs.unregister()
        shutil.rmtree(folder, ignore_errors=True)
    if errors:
        raise AssertionError(errors[0])
    return history


def run(count: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Check so many histories, some of them of a file; ``violations`` are sentences with the seed that shows each."""
    del share
    found: dict[str, Any] = {"histories": 0, "files": 0, "operations": 0, "unknown": 0, "violations": []}
    first = (seed % 1_000_000) * 10_000
    for number in range(count):
        file = number % FILES == 0
        for made in (in_memory, of_a_file) if file else (in_memory,):
            history = made(first + number)
            found["histories"] += 1
            found["files"] += made is of_a_file
            found["operations"] += len(history)
            found["unknown"] += sum(op.back == NEVER for op in history)
            if said := contradiction(history, (0, 0, EMPTY), step):
                found["violations"].append(f"{made.__name__}, seed {first + number}: {said}")
    return found


def words(found: dict[str, Any]) -> str:
    return (
        f"{found['histories']} histories, {found['files']} of files, with {found['operations']} operations, {found['unknown']} of them "
        f"without an answer; {len(found['violations'])} not explained"
    )
