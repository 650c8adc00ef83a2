"""Runs workflows in a simulated world until nothing of them is left to do."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from kos_runtime.core.workflow.commands import Accepted, Answer, CreateRun, ForkRun
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.simulator.faults import Faults
from kos_runtime.simulator.node import Asked, Node
from kos_runtime.simulator.people import Answers, People
from kos_runtime.simulator.world import BEGIN_MS, MACHINES, Parts, World

#: Nothing goes wrong any more after so long, in milliseconds, or so many things that happened.
HEAL_MS: Final = 1_800_000
HEAL_STEPS: Final = 4_000
#: After that a run may take so long until it is over or waits for somebody, in milliseconds: a step's own timeout may
#: come first, and then its process has to be ended.
PATIENCE_MS: Final = 40 * 3_600_000
#: So many things may happen in all.
MAX_STEPS: Final = 400_000
_OVER: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.QUARANTINED})


@dataclass(slots=True)
class Ended:
    """How a simulated world came to rest."""

    seed: int
    trace_hash: str
    #: Run → its status.
    statuses: dict[str, str]
    #: Virtual milliseconds, and how many things happened.
    took_ms: int
    steps: int
    sometimes: Counter[str]
    #: Why it did not come to rest; empty when it did.
    stuck: str = ""
    lines: list[str] = field(default_factory=list)


def partition_of(run: str, partitions: int) -> int:
    """Return where a run belongs."""
    return int.from_bytes(sha256(run.encode()).digest()[:4], "big") % partitions


class Simulation:
    """Some runs in one world. ``create`` before ``run``; the nodes, with their logs, can be looked at afterwards."""

    def __init__(
        self,
        seed: int,
        faults: Faults,
        parts: Parts,
        *,
        partitions: int = 1,
        hands: int = 2,
        answers: Answers | None = None,
        keep: bool = False,
    ) -> None:
        self.world = World(seed, faults, keep=keep)
        self.people = People(answers or Answers())
        self.nodes = [Node(self.world, number, parts, hands) for number in range(partitions)]
        self.runs: dict[str, Node] = {}
        self.created: dict[str, Asked] = {}
        self._hazards = [
            kind
            for kind in ("zombie", "agent_crash", "machine", "blackout", "power", "partition", "clock")
            if kind in faults.rates
        ]
        self.people.on_forked = self._forked
        for node in self.nodes:
            node.on_record = self.people.sees

    def create(self, command: CreateRun, *, delay: int = 0) -> None:
        """Have a client create a run."""
        node = self.nodes[partition_of(command.run, len(self.nodes))]
        self.runs[command.run] = node

        def ask() -> None:
            self.created[command.run] = node.ask(command, f"create-{command.run}", self._created)

        self.world.after(delay, ask)

    def _forked(self, node: Node, run: str, asked: Asked) -> None:
        self.runs[run], self.created[run] = node, asked

    def _created(self, answer: Answer) -> None:
        if not isinstance(answer, Accepted):
            self.world.trace(f"a run was refused: {answer.message}")

    def run(self) -> Ended:
        """Go on until every run is over or waits for somebody who will not come."""
        try:
            return self._run()
        finally:
            for node in self.nodes:
                for process in node.processes.values():
                    process.runner.close()

    def _run(self) -> Ended:
        world = self.world
        stuck = ""
        limit = 0
        while True:
            if not world.step():
                stuck = "nothing happens any more"
                break
            if self._hazards and not world.healed:
                self._strike()
            if not world.healed and (world.now - BEGIN_MS > HEAL_MS or world.steps > HEAL_STEPS):
                world.heal()
            if world.healed and not limit:
                limit = world.now + PATIENCE_MS
            if world.news:
                world.news = False
                if self._is_over():
                    break
            if world.steps > MAX_STEPS or (limit and world.now > limit):
                stuck = f"not over after {world.steps} things that happened, {(world.now - BEGIN_MS) / 1_000:.0f} s"
                break
        for run in [run for run, asked in self.created.items() if not isinstance(asked.answer, Accepted | None)]:
            if run in self.runs and isinstance(self.created[run].command, ForkRun):
                # It was refused, as what cannot be taken back is.
                del self.runs[run]
        statuses = {run: self._status(run) for run in self.runs}
        for run, status in statuses.items():
            world.trace(f"{run} is {status}")
        return Ended(
            world.seed,
            world.trace_hash(),
            statuses,
            world.now - BEGIN_MS,
            world.steps,
            world.sometimes,
            stuck,
            world.lines or [],
        )

    def _status(self, run: str) -> str:
        life = self.runs[run].life
        row = life.host.log.run(run) if hasattr(life, "host") else None
        return "missing" if row is None else str(row.status)

    def _is_over(self) -> bool:
        for run in self.runs:
            asked = self.created.get(run)
            if asked is None or asked.answer is None:
                return False
            if isinstance(asked.answer, Accepted) and self._status(run) not in _OVER:
                return False
        if self.people.answers.answer:
            return all(asked.answer is not None for node in self.nodes for asked in node.asked)
        return True

    def _go_down(self, machine: str, for_ms: int) -> None:
        """A machine goes down with all processes of agents on it; nothing is placed there until it is back."""
        self.world.down[machine] = self.world.now + for_ms
        for node in self.nodes:
            for process in list(node.processes.values()):
                if process.machine == machine:
                    node.process_dies(process, f"{machine} went down")

    def _strike(self) -> None:
        """After each thing that happens, anything may go wrong."""
        world = self.world
        draw = world.chance["life"]
        for kind in self._hazards:
            if not world.strikes(kind, "life"):
                continue
            if not world.may_strike(kind):
                self._hazards = [other for other in self._hazards if other != kind]
            node = self.nodes[draw.randrange(len(self.nodes))]
            match kind:
                case "zombie":
                    node.freeze()
                case "agent_crash":
                    if node.processes:
                        name = draw.choice(sorted(node.processes))
                        node.process_dies(node.processes[name], "killed")
                case "machine":
                    self._go_down(draw.choice(MACHINES), draw.randrange(1_000, 60_000))
                case "power" if draw.random() < 0.5:
                    node.lose_power()
                case "power":
                    node.life.power_goes = True
                case "blackout":
                    for each in self.nodes:
                        each.ends(each.life, "killed with all others")
                        for process in list(each.processes.values()):
                            each.process_dies(process, "killed with all others")
                case "partition":
                    machines = [*MACHINES, "client", *(each.machine for each in self.nodes)]
                    world.part(machines)
                case "clock":
                    node.wall_offset += draw.randrange(-3_600_000, 3_600_000)
                    world.trace(f"the clock of {node.machine} jumps to {node.wall_offset:+d} ms")
