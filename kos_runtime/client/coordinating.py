"""Coordination classes over a real engine: each of their streams is a run of one step, which holds the machine.

So it is recorded, recovered, verified and shown as any run. Its id follows from the stream's name: whoever opens a stream
that is there goes on with it, in another process or after everything was killed.
"""

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.composition.commands import run_id_of_key
from kos_runtime.composition.machines import load_installed, make_installed_known, name_of
from kos_runtime.core.errors import ConnectionLost, InvalidDefinition, NotFound
from kos_runtime.core.machine import Concluded, Machine, Refused
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Body, Consensus, Coordination, ForEach, InputSpec, Plan, Policy, Pool, Step
from kos_runtime.core.terms import fact_unwritten, unwritten, written
from kos_runtime.core.workflow.events import ConsensusReached, MachineDecided
from kos_runtime.core.workflow.peers import PAXOS, PEER

if TYPE_CHECKING:
    from kos_runtime.client.engine import WorkflowEngine

#: The step that holds the machine, and the workflow that it is the step of.
STEP: Final = "protocol"
WORKFLOW: Final = "coordination"
#: The action by which a peer is asked for its ballot, unless its agent's name says another.
ON_QUESTION: Final = "on_question"
#: How often what was recorded is looked at, in seconds: at first, and at most.
LOOK_S: Final = 0.01
MOST_S: Final = 0.25
#: A command is said again to so many owners, each of which was lost before it answered.
TRIES: Final = 5
#: ``kExecutor-2`` is the second of several of one kind, ``kExecutor.gather`` names the action as well.
_NUMBERED: Final = re.compile(r"(?P<agent>.+?)(-\d+)?")
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "quarantined"})


def run_of(engine: "WorkflowEngine", stream: str) -> str:
    """Return the id of the run that a stream is."""
    return run_id_of_key(engine.reading.log.store_id, "default", stream)


def open_stream(
    engine: "WorkflowEngine",
    stream: str,
    machine: Machine[Any],
    setup: Any,
    nodes: Sequence[str],
    agents: Mapping[str, str],
) -> str:
    """Open a stream, unless it is open, and return its run.

    Raises:
        InvalidDefinition: It cannot be set up; an agent is not here; the stream is there, set up otherwise.
    """
    make_installed_known()
    by_peers = name_of(machine) == PEER
    try:
        # What is put to the vote is a part of the plan.
        plain = None if by_peers else written(setup)
        for node in nodes:
            machine.initial(node, setup)
    except ValueError as error:
        raise InvalidDefinition(f"{stream} cannot be opened: {error}") from error
    if not nodes or len(set(nodes)) != len(nodes):
        twice = next((node for node in nodes if list(nodes).count(node) > 1), "")
        raise InvalidDefinition(f"{stream}: {twice!r} is named twice" if twice else f"{stream} has no node")
    asked, pools = _agents(stream, machine, setup, nodes, agents)
    if by_peers:
        return engine.create_compiled(_vote(stream, setup, nodes, asked), {}, key=stream, name=stream)
    form = Coordination(machine=name_of(machine), nodes=tuple(nodes), setup="$inputs.setup", agents=asked)
    plan = Plan(
        workflow=WORKFLOW,
        inputs=(InputSpec(name="setup", required=True),),
        free_outputs=True,
        pools=pools,
        body=Body(steps=(Step(id=STEP, form=form),)),
        policies=(Policy(rule="default"),),
    )
    return engine.create_compiled(plan, {"setup": plain}, key=stream, name=stream)


def _vote(stream: str, setup: Any, nodes: Sequence[str], agents: Mapping[str, list[str]]) -> Plan:
    """Return the plan of a vote: its peers have processes and streams of their own, and are asked by an action.

    Raises:
        InvalidDefinition: A peer has no agent, or they are of several kinds.
    """
    missing = [name for name in nodes if name not in agents]
    if missing:
        raise InvalidDefinition(f"{stream}: nobody is there for {missing[0]!r}; name it in kos.coordinator({{...}})")
    kinds = {(kind, action) for kind, action in (agents[name] for name in nodes)}
    if len(kinds) > 1:
        listed = " and ".join(sorted(kind for kind, _ in kinds))
        raise InvalidDefinition(f"{stream}: peers that vote are of one kind and have one action, not {listed}")
    ((kind, action),) = kinds
    asked = setup.question
    vote = Consensus(
        electors=tuple(name for name, _ in asked.electors),
        weights=dict(asked.electors),
        rule=asked.rule,
        options=tuple(asked.options),
        threshold="" if asked.threshold is None else str(asked.threshold),
        participation=str(asked.participation) if asked.participation else "",
        agreement=PAXOS,
        subject=asked.subject,
        breaks_ties=asked.breaks_ties,
        rounds=setup.rounds,
        deadline_ms=setup.deadline_ms,
    )
    question = {"subject": asked.subject, "options": list(asked.options), "peer": "$peer"}
    form = ForEach(
        items=list(vote.electors), name="peer", on_item_failure="collect", agent=kind,
        action=action or ON_QUESTION, consensus=vote,
    )  # fmt: skip
    return Plan(
        workflow=WORKFLOW,
        free_outputs=True,
        pools={kind: Pool(agent=kind, most=len(vote.electors))},
        body=Body(steps=(Step(id=STEP, form=form, inputs={"question": question}),)),
        policies=(Policy(rule="default"),),
    )


def _agents(
    stream: str,
    machine: Machine[Any],
    setup: Any,
    nodes: Sequence[str],
    agents: Mapping[str, str],
) -> tuple[dict[str, list[str]], dict[str, Pool]]:
    """Return for each name that may be asked its agent and action, and the pools of those.

    Raises:
        InvalidDefinition: One that the machine cannot do without is not here.
    """
    from kos_runtime.composition.discovery import Registry

    registry = Registry()
    consults = getattr(machine, "consults", None)
    needed = tuple(consults(setup)) if consults is not None else ()
    unknown = [name for name in agents if name not in {*nodes, *needed}]
    found: dict[str, list[str]] = {}
    count: dict[str, int] = {}
    for name in dict.fromkeys([*needed, *nodes, *agents]):
        reference = agents.get(name, name)
        target, _, action = reference.rpartition(".") if "." in reference.rpartition(":")[2] else (reference, "", "")
        matched = _NUMBERED.fullmatch(target)
        kind = matched["agent"] if matched is not None else target
        try:
            registry.target(kind)
        except InvalidDefinition as error:
            if name in needed or name in agents:
                near = nearest(name, tuple(nodes)) if name in unknown else None
                hint = f"; did you mean {near!r}?" if near else ""
                raise InvalidDefinition(f"{stream}: {name} is asked, and {error}{hint}") from error
            continue
        found[name] = [kind, action]
        count[kind] = count.get(kind, 0) + 1
    return found, {kind: Pool(agent=kind, most=many) for kind, many in count.items()}


def tell(engine: "WorkflowEngine", stream: str, node: str, command: Any) -> Any:
    """Give a node a command, and return its reply once that is durable.

    Raises:
        InvalidDefinition: The command has no name; the machine raised.
        Unreachable: The store or its owner.
    """
    try:
        run = run_of(engine, stream)
    except NotFound as error:
        return Refused("not_found", f"there is no {stream!r}: {error}")
    message = {
        "op": "tell", "run": run, "step": STEP, "node": node, "command": written(command),
        "by": engine.author, "command_id": os.urandom(8).hex(),
    }  # fmt: skip
    row = engine.reading.log.run(run)
    if row is None:
        return Refused("not_found", f"there is no {stream!r}")
    if row.status in _ENDED:
        return Refused("conflict", f"{stream} is {row.status}")
    for left in reversed(range(TRIES)):
        try:
            return unwritten(engine.ask_owner(message).get("reply"))
        except ConnectionLost:
            if not left:
                raise
        except NotFound as error:
            return Refused("not_found", str(error))
        except InvalidDefinition as error:
            ended = engine.reading.log.run(run)
            if ended is None or ended.status != "completed":
                raise
            return Refused("conflict", str(error))
    raise AssertionError("unreachable")


async def wait_for(
    engine: "WorkflowEngine", stream: str, found: Callable[[Any], bool], look: Callable[..., Any]
) -> Any:
    """Return the first fact of a stream that is looked for, or wait for it. ``look`` calls what reads the store.

    Raises:
        NotFound: There is no such stream.
        RunFailed: It ended otherwise.
        TimeoutError: It has come to its end without it.
    """
    run, after, pause = await look(run_of, engine, stream), 0, LOOK_S
    load_installed()
    while True:
        fact, after, status, fresh = await look(_look, engine, run, after, found)
        if fact is not None:
            return fact[0]
        if status in _ENDED:
            await look(_ended, engine, stream, run, status)
        if status == "interrupted":
            await look(engine.resume, run)
        pause = LOOK_S if fresh else min(pause * 1.5, MOST_S)
        await asyncio.sleep(pause)


def _look(
    engine: "WorkflowEngine", run: str, after: int, found: Callable[[Any], bool]
) -> tuple[list[Any] | None, int, str, bool]:
    row = engine.reading.log.run(run)
    if row is None:
        raise NotFound(f"there is no run {run!r}")
    # Before the facts: what is recorded after this is seen the next time.
    status, at = engine.reading.status(row), after
    for line in engine.reading.lines(run, after=after):
        at = line.seq
        if isinstance(line.event, MachineDecided):
            for label, values in engine.reading.codec.unpack(line.event.facts):
                fact = fact_unwritten(label, values)
                if found(fact):
                    return [fact], at, status, True
        elif isinstance(line.event, ConsensusReached):
            # What peers came to stands in their own streams; the run tells of their end.
            fact = Concluded(_reached(engine, line.event))
            if found(fact):
                return [fact], at, status, True
    return None, at, status, at > after


def _reached(engine: "WorkflowEngine", event: ConsensusReached) -> Any:
    exposed: dict[str, Any] = engine.reading.codec.unpack(event.exposed)
    for name, digest, *_ in event.blobs:
        exposed[name] = engine.reading.codec.unpack(engine.reading.blobs.get(digest))
    return exposed["result"]


def _ended(engine: "WorkflowEngine", stream: str, run: str, status: str) -> None:
    from kos_runtime.client.engine import RunFailed

    if status == "completed":
        raise TimeoutError(f"{stream} has come to its end without what is waited for")
    raise RunFailed(run, status, engine.reading.view(run).error)


class CoordinatorOver:
    """A ``Coordinator`` over an engine, with agents for the names that its machines ask: ``{"w1": "kExecutor.gather"}``.

    A name that is not among them is an agent's own, with a number behind it or not (``kExecutor-2``).
    """

    def __init__(self, engine: Any, agents: Mapping[str, str]) -> None:
        self._engine, self._agents = engine, dict(agents)

    async def open(self, stream: str, machine: Machine[Any], setup: Any, nodes: Sequence[str]) -> None:
        await self._engine.open(stream, machine, setup, nodes, agents=self._agents)

    async def command(self, stream: str, node: str, command: Any) -> Any:
        return await self._engine.command(stream, node, command)

    async def until(self, stream: str, found: Callable[[Any], bool]) -> Any:
        return await self._engine.until(stream, found)
