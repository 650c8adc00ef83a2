"""A partition in a simulated world: its disk, whoever owns it, and the agents' processes that work for it."""

from dataclasses import dataclass, replace
from typing import Any, Final

from kos_runtime.core.record import Record
from kos_runtime.core.workflow.commands import Answer, Command, CreateRun
from kos_runtime.engine import messages as msg
from kos_runtime.simulator.life import Life
from kos_runtime.simulator.processes import AgentProcess
from kos_runtime.simulator.world import Parts, World

#: A process that starts takes so long, in milliseconds, at most.
START_MS: Final = 500
#: A partition whose process died has another after so long, in milliseconds, at most.
RESTART_MS: Final = 3_000
#: The death of an agent's process is noticed after so long, in milliseconds, at most.
NOTICE_MS: Final = 2_000
#: Whoever asks for something asks again after so long, in milliseconds.
ASK_AGAIN_MS: Final = 5_000
_BEGINS: Final = ("run_created.", "run_reopened.", "run_requeued.")
_ENDS: Final = ("run_completed.", "run_failed.", "run_cancelled.")


@dataclass(slots=True)
class Asked:
    """Something that a client wants, until it is answered."""

    command: Command
    command_id: str
    then: Any
    answer: Answer | None = None
    times: int = 0


class Node:
    """See the module."""

    def __init__(self, world: World, number: int, parts: Parts, hands: int) -> None:
        self.world, self.number, self.parts, self.hands = world, number, parts, hands
        self.machine = f"m0.{number}"
        self.processes: dict[str, AgentProcess] = {}
        self.ledger: list[tuple[str, str, int, int]] = []
        self.asked: list[Asked] = []
        #: (kind, text, run) of what the partition told whoever watches.
        self.notices: list[tuple[str, str, str]] = []
        #: Called with each new record of the log.
        self.on_record: Any = None
        #: Called with the life that committed something.
        self.on_commit: Any = None
        self.wall_offset = 0
        #: Runs that have begun here and are not over.
        self.live: set[str] = set()
        self.lives = 0
        self._tokens = 0
        self._waiting: dict[tuple[int, int], Asked] = {}
        self._made = 0
        self._seen = 0
        self._log: Any = None
        self.life = Life(self, 0)
        self._begin(0)

    def wall(self) -> int:
        """Return what the clock on the wall says here."""
        return self.world.now + self.wall_offset

    # --- lives

    def _begin(self, delay: int) -> None:
        self.lives += 1
        self.life = Life(self, self.lives)
        self.world.after(delay, self.life.begin)

    def ends(self, life: Life, why: str) -> None:
        """A partition's process is over; if it was the owner, there will be another."""
        if not life.alive:
            return
        life.alive = False
        self.world.trace(f"{life.name} ends: {why}")
        if life is self.life:
            self._begin(self.world.chance["life"].randrange(50, RESTART_MS))

    def freeze(self) -> None:
        """Have the owner stand still, and be replaced."""
        draw, life = self.world.chance["life"], self.life
        if not life.ready:
            return
        life.freeze(self.world.now + draw.randrange(1_000, 60_000))
        self.world.trace(f"{life.name} stands still")
        self._begin(draw.randrange(50, RESTART_MS))

    def lose_power(self) -> None:
        """Everything here stops, and the disk forgets what was not synced."""
        life = self.life
        life.power_goes = False
        self.parts.disk(self.number).lose_power(self.world.chance["disk"])
        self.parts.recover(self.number)
        self.ends(life, "the power went")
        for process in list(self.processes.values()):
            self.process_dies(process, "the power went")

    # --- after a commit

    def committed(self, life: Life) -> None:
        """Put what is new in the log into the trace, and show it to whoever wants to see it."""
        log = life.host.log
        head = log.head().offset
        if head <= self._seen:
            return
        # It is a whole store, of which a host asks less.
        for record in log.records(after=self._seen, limit=head - self._seen):  # type: ignore[attr-defined]
            self.world.trace(f"{self.machine} {record.offset} {record.names} {record.hash.hex()}")
            if "run_" in record.names:
                self._tally(record)
            if self.on_record is not None:
                self.on_record(self, record)
        self._seen = head
        self.world.news = True
        if self.on_commit is not None:
            self.on_commit(life)

    def _tally(self, record: Record) -> None:
        begun = max(record.names.rfind(name) for name in _BEGINS)
        if max(record.names.rfind(name) for name in _ENDS) > begun:
            self.live.discard(record.correlation)
        elif begun >= 0:
            self.live.add(record.correlation)

    def replies(self, life: Life, token: int, answer: Answer) -> None:
        asked = self._waiting.pop((life.number, token), None)
        if asked is not None:
            self.world.send(self.machine, "client", self._answered, asked, answer)

    def noticed(self, kind: str, text: str, run: str) -> None:
        self.world.sometimes[f"notice: {kind}"] += 1
        self.notices.append((kind, text, run))

    # --- agents' processes

    def start_process(self, life: Life, effect: msg.StartProcess) -> None:
        """Make a process somewhere."""
        world = self.world
        delay = world.chance["agent"].randrange(10, START_MS)
        if world.strikes("unplaced", "agent"):
            reason = f"no process of {effect.kind} can be placed: simulated"
            world.after(delay, life.put, msg.PoolFailed(effect.pool, reason))
            return
        world.after(delay, self._started, life, effect)

    def _started(self, life: Life, effect: msg.StartProcess) -> None:
        if not life.alive:
            return
        self._made += 1
        name = f"{effect.kind}-{self.number}.{self._made}"
        try:
            runner = self.parts.make_runner(effect, self._clock_ns)
        except Exception as error:
            life.put(msg.PoolFailed(effect.pool, f"{effect.kind} cannot be made: {type(error).__name__}: {error}"))
            return
        machine = life.machine_for(self._made)
        process = AgentProcess(self.world, name, effect.pool, machine, runner, self.hands, life)
        self.processes[name] = process
        self.world.trace(f"{name} starts on {machine}")
        life.joined(process)

    def _clock_ns(self) -> int:
        return self.world.now * 1_000_000

    def process_dies(self, process: AgentProcess, cause: str) -> None:
        """A process ends; its partition hears of it after a moment."""
        if not process.alive:
            return
        process.die()
        self.processes.pop(process.name, None)
        self.world.trace(f"{process.name} dies: {cause}")
        self.world.after(self.world.chance["agent"].randrange(NOTICE_MS), self._lost, process.name, cause)

    def _lost(self, name: str, cause: str) -> None:
        self.life.lost(name, cause)

    # --- clients

    def ask(self, command: Command, command_id: str, then: Any = None) -> Asked:
        """Have a client ask for something until it is answered."""
        asked = Asked(command, command_id, then)
        self.asked.append(asked)
        self._ask(asked)
        return asked

    def _ask(self, asked: Asked) -> None:
        asked.times += 1
        if asked.times > 1 and isinstance(asked.command, CreateRun):
            asked.command = replace(asked.command, again=True)
        self.world.send("client", self.machine, self._arrives, asked, self.life)
        self.world.after(ASK_AGAIN_MS, self._ask_again, asked)

    def _ask_again(self, asked: Asked) -> None:
        if asked.answer is None:
            self.world.sometimes["command asked again"] += 1
            self._ask(asked)

    def _arrives(self, asked: Asked, life: Life) -> None:
        # A call belongs to one life of whoever is called.
        if not (life.alive and life.ready):
            return
        self._tokens += 1
        self._waiting[life.number, self._tokens] = asked
        life.put(msg.Request(self._tokens, asked.command_id, asked.command))

    def _answered(self, asked: Asked, answer: Answer) -> None:
        if asked.answer is not None:
            return
        if getattr(answer, "code", "") in {"busy", "storage", "storage_full", "unknown"}:
            # Asked again later.
            return
        asked.answer = answer
        self.world.news = True
        self.world.trace(f"answered {asked.command_id}: {answer}")
        if asked.then is not None:
            asked.then(answer)
        if self.world.happens("resend", "person"):
            again = Asked(asked.command, asked.command_id, None, answer)
            if isinstance(again.command, CreateRun):
                again.command = replace(again.command, again=True)
            self.world.send("client", self.machine, self._arrives, again, self.life)
