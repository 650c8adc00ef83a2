"""A small world for the engine's tests: a partition on the in-memory store, agents that are plain functions."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from kos_runtime.adapters.blob_store.memory import MemoryBlobStore
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.core.event import rebuild
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.identity import run_stream
from kos_runtime.core.invocation import Gather, Invocation, Outcome, Piece
from kos_runtime.core.plan.link import ActionLink, AgentLink, FieldLink, Link, ParameterLink
from kos_runtime.core.plan.model import Action, Body, Plan, Step
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.record import INLINE_LIMIT, Batch
from kos_runtime.core.workflow.commands import Accepted, Answer, AnswerTask, CreateRun
from kos_runtime.core.workflow.events import PlanRevised
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.snapshot import from_plain
from kos_runtime.core.workflow.snapshot import to_plain as state_plain
from kos_runtime.core.workflow.state import Run
from kos_runtime.engine import messages as msg
from kos_runtime.engine.host import Host
from kos_runtime.engine.limits import Limits
from kos_runtime.simulator.clock import VirtualClock
from kos_runtime.simulator.in_process import VirtualHost

CODEC = MsgpackCodec()
START = 1_700_000_000_000


class Fails(Exception):
    """Raised by a scripted action to fail with a kind."""

    def __init__(self, kind: ErrorType, message: str = "scripted", *, recoverable: bool | None = None) -> None:
        super().__init__(kind, message)
        self.error = failure(kind, message, recoverable=recoverable)


Script = Callable[..., Any]


@dataclass
class Result:
    outcomes: list[Outcome]
    running: list[tuple[str, str, int]] = field(default_factory=list)


class ScriptedRunner:
    """Executes invocations by plain functions ``action(invocation, **inputs)``."""

    def __init__(self, world: "World", process: msg.StartProcess) -> None:
        self.world = world
        self.process = process

    def submit(self, invocations: Sequence[Invocation]) -> None:
        raise NotImplementedError("the scripted runner answers at once")

    def run_batch(self, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> Result:
        return Result([outcome for i in invocations if (outcome := self.world.execute(i)) is not None])

    def cancel(self, run: str, path: str, fence: int) -> None:
        self.world.cancelled.append((path, fence))

    def acknowledge(self, keys: Sequence[tuple[str, str, int]]) -> None:
        self.world.acknowledged.extend(keys)

    def close(self) -> None:
        pass


class Recording(MemoryEventStore):
    """The in-memory store, with every batch kept as it was appended."""

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log = log if log is not None else MemoryLog("store")
        super().__init__(self.log)
        self.appended: list[Batch] = []

    def append(self, batch: Batch) -> None:
        super().append(batch)
        self.appended.append(copy.deepcopy(batch))


class World:
    """One store, its partition, and scripted agents of one kind ``k`` (and ``boss`` for escalations)."""

    def __init__(
        self,
        actions: dict[str, Script],
        *,
        store: MemoryEventStore | None = None,
        blobs: MemoryBlobStore | None = None,
        limits: Limits | None = None,
        hands: int = 4,
        **host: Any,
    ) -> None:
        self.actions, self.more = actions, host
        self.store = store if store is not None else Recording()
        self.blobs = blobs if blobs is not None else MemoryBlobStore()
        self.executed: list[tuple[str, int, int]] = []
        self.cancelled: list[tuple[str, int]] = []
        self.acknowledged: list[tuple[str, str, int]] = []
        self.clock = VirtualClock(START)
        self.host = Host(self.store, self.blobs, CODEC, owner="test", limits=limits or Limits(), **host)
        self.virtual = VirtualHost(self.host, self.clock, lambda effect, _: ScriptedRunner(self, effect), hands=hands)

    # --- what a test says

    def create(
        self, plan: Plan, inputs: dict[str, Any] | None = None, *, run: str = "r", link: Link | None = None, **more: Any
    ) -> Answer:
        return self.virtual.request(self.command(plan, inputs, run=run, link=link, **more), command_id=f"create-{run}")

    def command(
        self, plan: Plan, inputs: dict[str, Any] | None = None, *, run: str = "r", link: Link | None = None, **more: Any
    ) -> CreateRun:
        return CreateRun(
            run=run,
            plan=self.blobs.put(CODEC.pack(to_plain(plan))).digest,
            link=self.blobs.put(CODEC.pack(to_plain(link or link_for(self.actions)))).digest,
            settings={"k": {"corpus": "none"}},
            drivers={},
            inputs=inputs or {},
            seed=7,
            salt=b"s" * 16,
            author="user:test",
            **more,
        )

    def run(self, plan: Plan, inputs: dict[str, Any] | None = None, *, run: str = "r", **more: Any) -> Self:
        answer = self.create(plan, inputs, run=run, **more)
        assert isinstance(answer, Accepted), answer
        self.virtual.run_until_idle()
        return self

    def answer(self, path: str, data: dict[str, Any], *, run: str = "r") -> Answer:
        answer = self.virtual.request(AnswerTask(run=run, path=path, data=data, by="user:test"), command_id=f"a-{path}")
        self.virtual.run_until_idle()
        return answer

    def crash(self) -> "World":
        """Return a new world over the same store and blobs: everything else is gone."""
        return World(self.actions, store=self.store, blobs=self.blobs, limits=self.host.limits, **self.more)

    # --- what a test asks

    def events(self, run: str = "r") -> list[Any]:
        return [
            event
            for record in self.store.stream(run_stream(run), limit=1_000_000)
            for event in rebuild(record.names, CODEC.unpack(record.payload))
        ]

    def named(self, kind: type, run: str = "r") -> list[Any]:
        return [event for event in self.events(run) if isinstance(event, kind)]

    def status(self, run: str = "r") -> str:
        row = self.store.run(run)
        assert row is not None
        return row.status

    def outputs(self, run: str = "r") -> dict[str, Any]:
        from kos_runtime.core.workflow.events import RunCompleted

        (end,) = self.named(RunCompleted, run)
        found: dict[str, Any] = CODEC.unpack(end.outputs)
        for name, digest, *_ in end.blobs:
            found[name] = CODEC.unpack(self.blobs.get(digest))
        return found

    def folded(self, run: str = "r") -> Run:
        """Fold a run from its events alone."""
        loaded = self.host.load_run(run)
        first = self.store.stream(run_stream(run), limit=1)[0]
        created, linked = rebuild(first.names, CODEC.unpack(first.payload))[:2]
        state = Run(run, self.store.store_id, CODEC)
        state.program, state.link = self.host.program(created.plan), self.host.link(linked.link)
        assert state.program is not None
        assert state.link is not None
        state.plans, state.links = {created.plan: state.program}, {linked.link: state.link}
        del loaded
        for record in self.store.stream(run_stream(run), limit=1_000_000):
            for event in rebuild(record.names, CODEC.unpack(record.payload)):
                if isinstance(event, PlanRevised):
                    self.give(state, event)
                evolve(state, event)
            state.position = record.position
        return state

    def give(self, state: Run, event: PlanRevised) -> None:
        """Give a run that is folded the plan of a change that comes next."""
        program, link = self.host.program(event.plan), self.host.link(event.link)
        assert program is not None
        assert link is not None
        state.plans[event.plan], state.links[event.link] = program, link

    # --- agents

    def execute(self, invocation: Invocation) -> Outcome | None:
        self.executed.append((invocation.path, invocation.attempt, invocation.fence))
        values = self._inputs(invocation)
        try:
            result = self.actions[invocation.action](invocation, **values)
        except Fails as failed:
            return Outcome(invocation.run, invocation.path, invocation.fence, error=failed.error)
        if result is HANGS:
            return None
        return self._outcome(invocation, result)

    def _inputs(self, invocation: Invocation) -> dict[str, Any]:
        packed = invocation.inputs
        if invocation.inputs_blob is not None:
            packed = self.blobs.get(invocation.inputs_blob.digest)
        values: dict[str, Any] = CODEC.unpack(packed)
        for gather in invocation.gathers:
            place: Any = values
            for key in gather.place[:-1]:
                place = place[key]
            last = gather.place[-1]
            if gather.mode == "text":
                names = iter(gather.pieces)
                place[last] = "".join(self._piece(next(names)) if text is None else text for text in place[last])
            else:
                place[last] = self._gathered(gather)
        return values

    def _gathered(self, gather: Gather) -> Any:
        pieces = [self._piece(piece) for piece in gather.pieces]
        value: Any = pieces
        if gather.mode == "one":
            (value,) = pieces
        elif gather.mode == "concat":
            value = [item for piece in pieces for item in piece]
        return value if gather.cut is None else value[gather.cut[0] : gather.cut[1]]

    def _piece(self, piece: Piece) -> Any:
        if piece.secret:
            return f"<{piece.secret}>"
        packed = piece.packed
        if packed is None:
            assert piece.blob is not None
            packed = self.blobs.get(piece.blob.digest)
        value = CODEC.unpack(packed)
        for key in piece.path:
            value = value[key]
        return value

    def _outcome(self, invocation: Invocation, result: Any) -> Outcome:
        if invocation.part:
            names = dict(result)
        elif invocation.outputs is None:
            names = {"result": result, **(result if isinstance(result, dict) else {})}
        else:
            names = {}
            for name, key in invocation.outputs:
                if key != "$result" and key not in result:
                    error = failure(ErrorType.VALIDATION, f"the result has no {key!r}")
                    return Outcome(invocation.run, invocation.path, invocation.fence, error=error)
                names[name] = result if key == "$result" else result[key]
        blobs = []
        for name in list(names):
            packed = CODEC.pack(names[name])
            if len(packed) > INLINE_LIMIT:
                value = names.pop(name)
                kind = "array" if isinstance(value, list) else "object"
                blobs.append((name, self.blobs.put(packed), kind, len(value)))
        return Outcome(
            invocation.run, invocation.path, invocation.fence, exposed=CODEC.pack(names), blobs=blobs, duration_ms=1.0
        )


#: Returned by a scripted action that never answers.
HANGS = object()


def link_for(actions: dict[str, Script], **marks: ActionLink) -> Link:
    """Link every scripted action to agent ``k``; ``on_escalation`` to ``boss`` too."""
    known = {name: marks.get(name, ActionLink(takes_any=True)) for name in actions}
    agents = {
        "k": AgentLink(kind="k", target="tests:k", pool="k", actions=known),
        "boss": AgentLink(
            kind="boss",
            target="tests:boss",
            pool="boss",
            actions={"on_escalation": ActionLink(parameters=(ParameterLink(name="escalation"),))},
        ),
    }
    return Link(agents=agents)


def spread_over(name: str, *arrays: str) -> ActionLink:
    return ActionLink(over=name, fields=tuple(FieldLink(name=array, type="array") for array in arrays))


def act(id: str, action: str, *, after: tuple[str, ...] = (), **more: Any) -> Step:
    return Step(id=id, form=Action(agent="k", action=action), after=after, predecessors=after, **more)


def plan(*steps: Step, **more: Any) -> Plan:
    more.setdefault("free_inputs", True)
    more.setdefault("free_outputs", True)
    return Plan(workflow="w", body=Body(steps=steps), **more)


def state_of(run: Run) -> dict[str, Any]:
    return state_plain(run)


def restored(world: World, run: Run) -> Run:
    """Take a run's state through a snapshot's bytes."""
    copy_of = Run(run.id, run.store_id, CODEC)
    copy_of.program, copy_of.link = run.program, run.link
    from_plain(copy_of, CODEC.unpack(CODEC.pack(state_plain(run))))
    return copy_of


__all__ = [
    "HANGS",
    "Fails",
    "ScriptedRunner",
    "WorkflowError",
    "World",
    "act",
    "link_for",
    "plan",
    "restored",
    "state_of",
]
