"""Puts a simulated world together from the shipped parts: stores, codecs, agents, clocks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kos_runtime.adapters.agent_runner.stepped import SteppedRunner
from kos_runtime.adapters.blob_store.memory import MemoryBlobStore
from kos_runtime.adapters.clock import LogClock
from kos_runtime.adapters.event_store.journal import Journal, JournalEventStore
from kos_runtime.adapters.event_store.memory_log import Fault
from kos_runtime.composition.discovery import load_class
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.composition.wiring import CODEC, INNER_CODEC
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.plan.program import Program
from kos_runtime.core.workflow.commands import CreateRun
from kos_runtime.engine import messages as msg
from kos_runtime.engine.limits import Limits
from kos_runtime.ports.agent import Agent
from kos_runtime.simulator.disk import SimulatedDisk
from kos_runtime.simulator.faults import Faults
from kos_runtime.simulator.people import Answers
from kos_runtime.simulator.simulation import Simulation
from kos_runtime.simulator.world import Parts


@dataclass(slots=True)
class Definition:
    """What is run: a compiled plan and its link, packed once for all runs of it."""

    plan: Plan
    link: Link
    settings: dict[str, Any]
    drivers: dict[str, str]
    packed_plan: bytes = b""
    packed_link: bytes = b""
    #: Plans and links of sub-workflows, packed.
    children: list[bytes] = field(default_factory=list)
    #: What was read of it by whoever looks at its runs; kept here because it is read once.
    library: Any = None

    def __post_init__(self) -> None:
        self.packed_plan = CODEC.pack(to_plain(self.plan))
        self.packed_link = CODEC.pack(to_plain(self.link))


class Workshop:
    """What is made once a process: agents' classes, and agents where they may be shared.

    ``cache_dir`` is the folder in which agents keep what they build once, such as an index.
    """

    def __init__(self, cache_dir: str = "") -> None:
        self.cache_dir = cache_dir
        self._classes: dict[str, type[Agent]] = {}
        self.programs: dict[str, Program] = {}
        self.links: dict[str, Link] = {}

    def agent(self, target: str, settings: dict[str, Any]) -> Agent:
        cls = self._classes.get(target)
        if cls is None:
            cls = self._classes[target] = load_class(target)
        return cls(dict(settings))


@dataclass(slots=True)
class Stores:
    """The disks of one world, and what is kept on them."""

    journals: list[Journal]
    disks: list[SimulatedDisk]
    blobs: MemoryBlobStore = field(default_factory=MemoryBlobStore)


def simulation(
    seed: int,
    faults: Faults,
    workshop: Workshop,
    *,
    partitions: int = 1,
    hands: int = 2,
    limits: Limits | None = None,
    answers: Answers | None = None,
    calendar: Any = None,
    keep: bool = False,
) -> tuple[Simulation, Stores]:
    """Return a world in which nothing has happened yet, and its disks."""
    make_installed_known()
    disks = [SimulatedDisk() for _ in range(partitions)]
    store_id = f"sim-{seed}"
    journals = [Journal(disk, store_id, number) for number, disk in enumerate(disks)]
    stores = Stores(journals, disks)

    def open_log(number: int) -> JournalEventStore:
        return JournalEventStore(journals[number], wall=made.nodes[number].wall)

    def make_runner(effect: msg.StartProcess, clock: Callable[[], int]) -> SteppedRunner:
        agent = workshop.agent(effect.target, effect.settings)
        return SteppedRunner(
            agent, effect.kind, codec=CODEC, blobs=stores.blobs, cache_dir=workshop.cache_dir, clock=clock
        )

    parts = Parts(
        open_log=open_log,
        disk=disks.__getitem__,
        recover=lambda number: journals[number].recover(),
        blobs=stores.blobs,
        codec=INNER_CODEC,
        make_runner=make_runner,
        make_clock=lambda wall, last, walls, boots: LogClock(wall, last, wall=walls, boottime=boots),
        calendar=calendar,
        limits=limits or Limits(),
        programs=workshop.programs,
        links=workshop.links,
    )
    made = Simulation(seed, faults, parts, partitions=partitions, hands=hands, answers=answers, keep=keep)
    if any(kind in faults.rates for kind in ("disk_full", "ambiguous", "rival")):
        for journal in journals:
            journal.faults = _disk_faults(made)
    return made, stores


def _disk_faults(made: Simulation) -> Callable[[], Fault | None]:
    world = made.world
    draw: Random = world.chance["disk"]

    def fault() -> Fault | None:
        if world.healed:
            return None
        if world.strikes("disk_full", "disk"):
            return draw.choice((Fault.FULL, Fault.BUSY, Fault.READ_ONLY))
        if world.strikes("ambiguous", "disk"):
            return draw.choice((Fault.LOST, Fault.STORED))
        return Fault.FENCED if world.strikes("rival", "disk") else None

    return fault


def creation(
    stores: Stores, definition: Definition, run: str, seed: int, inputs: dict[str, Any], key: str = ""
) -> CreateRun:
    """Return the command that makes a run; its plan and link are stored."""
    for packed in definition.children:
        stores.blobs.put(packed)
    return CreateRun(
        run=run,
        plan=stores.blobs.put(definition.packed_plan).digest,
        link=stores.blobs.put(definition.packed_link).digest,
        settings=definition.settings,
        drivers=definition.drivers,
        inputs=inputs,
        seed=seed,
        salt=Random(f"{seed}/salt/{run}").randbytes(16),  # noqa: S311 - to be repeated
        author="user:simulated",
        name=run,
        key=key,
    )
