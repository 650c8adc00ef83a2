"""Whole-engine runs under one seed: a world, the shipped engine in it, and the oracle over what it wrote.

``simulate`` is one run of a definition; ``generated`` draws a definition of every running form. Both give a ``Result``,
whose ``trace_hash`` is the same whenever the same seed meets the same code.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Any

from kos_runtime.adapters.event_store.memory import MemoryLogReader
from kos_runtime.adapters.event_store.memory_evidence import MemoryEvidence
from kos_runtime.composition.catalogue import Catalogue, catalogue_of
from kos_runtime.composition.discovery import Registry, registry_of
from kos_runtime.composition.families import Family
from kos_runtime.composition.linking import link
from kos_runtime.composition.simulating import Definition, Stores, Workshop, creation, simulation
from kos_runtime.composition.wiring import CODEC, INNER_CODEC
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.workflow.commands import Accepted, CreateRun, ForkRun
from kos_runtime.definition import EngineSettings, WorkflowDocument, compile_workflow, load
from kos_runtime.definition.yaml_writer import write_yaml
from kos_runtime.engine.limits import Limits
from kos_runtime.simulator.faults import Faults
from kos_runtime.simulator.people import Answers
from kos_runtime.simulator.simulation import Simulation
from kos_runtime.testing.definitions import Everything
from kos_runtime.testing.detectors import Finding, find
from kos_runtime.testing.metrics import Metrics, metrics_of
from kos_runtime.testing.oracle import Library, Line, check_history, lines_of, live_unlike_fold

#: Runs of one world are created within so many milliseconds.
_APART_MS = 2_000


@dataclass(slots=True)
class Result:
    """One world, when it came to rest."""

    seed: int
    faults: list[str]
    trace_hash: str
    statuses: dict[str, str]
    #: Sentences of the oracle, and of whoever saw something go wrong that must not.
    violations: list[str]
    took_ms: int
    steps: int
    sometimes: Counter[str]
    trace: list[str] = field(default_factory=list)
    #: Each run's events.
    lines: dict[str, list[Line]] = field(default_factory=dict)
    #: Each run's error, where it failed.
    errors: dict[str, str] = field(default_factory=dict)
    #: How often a step's body was executed: once an attempt.
    executed: int = 0
    metrics: Metrics = field(default_factory=Metrics)
    plan: Plan | None = None
    #: When whose hands were at work on what (process, from, to, step's path), in virtual milliseconds; with ``lines``.
    spans: list[tuple[str, int, int, str]] = field(default_factory=list)
    #: How often each event stands in the logs.
    events: Counter[str] = field(default_factory=Counter)

    @property
    def findings(self) -> list[Finding]:
        """What looks odd in how agents worked together; where ``lines`` were kept."""
        return [found for run, lines in self.lines.items() for found in find(run, lines, self.plan)]


def prepare(
    document: WorkflowDocument,
    settings: EngineSettings | None = None,
    *,
    catalogue: Catalogue | None = None,
    cache_dir: str = "",
    registry: Registry | None = None,
) -> Definition:
    """Compile and link a definition, once for all its runs.

    Raises:
        InvalidDefinition: It cannot run here; everything that is wrong is in it.
    """
    settings = settings or EngineSettings()
    catalogue = catalogue_of(document) if catalogue is None else catalogue
    children: list[bytes] = []

    def put(plain: Any) -> str:
        packed = CODEC.pack(plain)
        children.append(packed)
        return sha256(packed).hexdigest()

    plan, _ = compile_workflow(document, settings=settings, templates=catalogue)
    family = Family(catalogue, settings, cache_dir, put=put)
    linked = link(plan, registry or registry_of(document), settings, cache_dir, family=family)
    return Definition(plan, linked.link, linked.settings, linked.drivers, children=children)


@lru_cache(maxsize=1_024)
def generated(number: int) -> tuple[Definition, Counter[str]]:
    """Return a random definition and how often each form is in it."""
    drawn = Everything(number)
    document = load(write_yaml(drawn.workflow()).encode(), f"generated-{number}")
    assert isinstance(document, WorkflowDocument)
    return prepare(document, _SETTINGS, registry=_registry()), drawn.forms


#: A hanging step of a generated workflow is given up soon: virtual time is cheap, looking at it every ten seconds is not.
_SETTINGS = EngineSettings(timeout_default_ms=120_000)


#: A whole-engine world holds so many runs of one definition, on so many partitions.
RUNS = 4
PARTITIONS = 2
#: A definition is compiled once and run under so many seeds.
SEEDS_A_DEFINITION = 8
#: The sweeper looks less often: whatever only it would find shows better. Some worlds have narrow bounds besides.
_LIMITS = (
    Limits(sweep_ms=60_000, wall_look_ms=30_000, long_timer_ms=600_000),
    Limits(sweep_ms=60_000, wall_look_ms=30_000, long_timer_ms=600_000, snapshot_at_rest=4, checkpoint_ms=5_000),
    Limits(sweep_ms=60_000, wall_look_ms=5_000, max_active_runs=1, max_record_events=4),
    Limits(
        sweep_ms=120_000, wall_look_ms=30_000, long_timer_ms=3_600_000, max_cached_bytes=20_000, snapshot_records=20
    ),
)


@lru_cache(maxsize=1)
def _registry() -> Registry:
    return Registry(())


_WORKSHOP = Workshop()
#: Commands that make a run are known by its id.
_MAKING = (CreateRun, ForkRun)
#: The share of commits after which what is in memory is compared with what was stored.
_LOOKS = 0.03
#: It is compared less often the longer the log is, from so many records on half as often: each look folds all of it.
_OFTEN = 500


def simulate(
    definition: Definition,
    seed: int,
    faults: Faults | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    runs: int = 1,
    partitions: int = 1,
    workshop: Workshop | None = None,
    answers: Answers | None = None,
    limits: Limits | None = None,
    keep: bool = False,
    lines: bool = False,
) -> Result:
    """Run a definition in a world of its own, so many times at once, and give what it wrote to the oracle.

    Args:
        definition: What is run.
        seed: All chance comes from it.
        faults: What goes wrong; nothing unless given.
        inputs: Of each run.
        runs: How many runs there are in the world, spread over the partitions.
        partitions: How many partitions there are, each with a log, an owner and agents' processes of its own.
        workshop: What makes agents; give the same to all runs of a process.
        answers: What people do.
        limits: The engine's bounds.
        keep: Keep every line of the trace.
        lines: Keep each run's events.
    """
    faults = faults or Faults()
    made, stores = simulation(
        seed, faults, workshop or _WORKSHOP, partitions=partitions, answers=answers, limits=limits, keep=keep
    )
    if lines:
        made.world.spans = []
    draw = Random(f"{seed}/create")  # noqa: S311 - to be repeated
    for number in range(runs):
        name = _name(seed, number, partitions)
        key = f"key-{number}" if draw.random() < 0.3 else ""
        command = creation(stores, definition, name, seed, dict(inputs or {}), key)
        made.create(command, delay=draw.randrange(_APART_MS) if number else 0)
    found: list[str] = []
    library = _library(definition, stores)
    looks = Random(f"{seed}/looks")  # noqa: S311 - to be repeated

    def look(life: Any) -> None:
        if looks.random() < _LOOKS / (1 + life.host.log.head().offset / _OFTEN):
            found.extend(live_unlike_fold(life.host, library))

    for node in made.nodes:
        node.on_commit = look
    try:
        ended = made.run()
    except Exception as error:
        # Whatever leaves the engine this way would have ended its process on Ray.
        found.append(f"the engine raised {type(error).__name__}: {error}")
        result = _result(made, stores, definition, faults, found, lines=lines)
        result.trace = made.world.lines or []
        return result
    if ended.stuck:
        found.append(f"I20: {ended.stuck}: {ended.statuses}")
    result = _result(made, stores, definition, faults, found, lines=lines)
    result.trace_hash, result.trace = ended.trace_hash, ended.lines
    return result


def _name(seed: int, number: int, partitions: int) -> str:
    """Return a run's id; the first ones lie in different partitions."""
    from kos_runtime.simulator.simulation import partition_of

    return next(
        name
        for salt in range(1_000)
        if partition_of(name := f"r{number}-{seed}-{salt}", partitions) == number % partitions
    )


def _library(definition: Definition, stores: Stores) -> Library:
    """Return what reads the plans of a definition, which is read once for all its runs."""
    library: Library | None = definition.library
    if library is None:
        library = definition.library = Library.of(stores.blobs, INNER_CODEC)
    library.blobs = stores.blobs
    return library


def _result(
    made: Simulation, stores: Stores, definition: Definition, faults: Faults, found: list[str], *, lines: bool
) -> Result:
    library = _library(definition, stores)
    kept: dict[str, list[Line]] = {}
    for node, journal in zip(made.nodes, stores.journals, strict=True):
        log = MemoryLogReader(journal.log)
        commands = [asked for asked in node.asked if isinstance(asked.answer, Accepted)]
        found += check_history(
            log,
            library,
            evidence=MemoryEvidence.of(journal.log),
            created=[asked.command.run for asked in commands if isinstance(asked.command, _MAKING)],
            acknowledged=[asked.command_id for asked in commands if not isinstance(asked.command, _MAKING)],
            ledger=node.ledger,
            seen=made.world.sometimes,
        )
        found += [
            f"I20: {text}" if kind == "stuck" else f"a run was set aside: {text}"
            for kind, text, _ in node.notices
            if kind in {"stuck", "quarantined"}
        ]
        if lines:
            for run in (run for run, its in made.runs.items() if its is node):
                kept[run] = lines_of(log.stream(f"run/{run}", limit=1_000_000), CODEC) or []
    world = made.world
    names = [
        record.names for journal in stores.journals for record in MemoryLogReader(journal.log).records(limit=1_000_000)
    ]
    for name, count in (
        ("torn frame cut off", sum(journal.cut for journal in stores.journals)),
        ("unsynced write lost", sum(disk.dropped for disk in stores.disks)),
        ("unsynced write torn", sum(disk.torn for disk in stores.disks)),
    ):
        if count:
            world.sometimes[name] += count
    statuses = {run: made._status(run) for run in made.runs}
    rows = {run: MemoryLogReader(stores.journals[node.number].log).run(run) for run, node in made.runs.items()}
    errors = {run: row.error for run, row in rows.items() if row is not None and row.error}
    return Result(
        seed=world.seed,
        faults=faults.texts(),
        trace_hash=world.trace_hash(),
        statuses=statuses,
        violations=found,
        took_ms=world.now - _begin(),
        steps=world.steps,
        sometimes=world.sometimes,
        lines=kept,
        errors=errors,
        plan=definition.plan,
        spans=world.spans or [],
        executed=sum(len(node.ledger) for node in made.nodes),
        metrics=metrics_of(world, names, list(kept.values())),
        events=Counter(name.partition(".")[0] for its in names for name in its.split()),
    )


def _begin() -> int:
    from kos_runtime.simulator.world import BEGIN_MS

    return BEGIN_MS


def faults_of(seed: int) -> Faults:
    """Draw what goes wrong in a seed's world."""
    return Faults.drawn(Random(f"{seed}/faults"))  # noqa: S311 - to be repeated


def whole_engine(seed: int, *, keep: bool = False, faults: Faults | None = None) -> Result:
    """One whole-engine run: a drawn definition, once on each of two partitions, with drawn faults."""
    definition, _ = generated(seed // SEEDS_A_DEFINITION)
    return simulate(
        definition,
        seed,
        faults_of(seed) if faults is None else faults,
        inputs={"n": seed % 6},
        runs=RUNS,
        partitions=PARTITIONS,
        limits=_LIMITS[seed % len(_LIMITS)],
        keep=keep,
    )
