"""Hosts, as a conformance row sees them: what to start, what to hold, when to lose everything, what came of it."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import kos_runtime.client
from kos_runtime.client import RunFailed, RunWaits
from kos_runtime.client.changing import addition, modification
from kos_runtime.client.owner import is_owned, reach_owner
from kos_runtime.client.reading import Reading
from kos_runtime.composition.catalogue import Catalogue
from kos_runtime.composition.discovery import Registry
from kos_runtime.composition.families import Family
from kos_runtime.composition.linking import Linked, link, link_again
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    Accepted,
    Answer,
    AnswerTask,
    CancelRun,
    DecideApproval,
    ExecuteStep,
    PauseRun,
    ResumeRun,
    RevisePlan,
    SendSignal,
)
from kos_runtime.core.workflow.status import TERMINAL
from kos_runtime.definition import EngineSettings, WorkflowDocument, compile_workflow, load
from kos_runtime.definition.changing import Change, changed, source_of, used_templates
from tests.conformance.crew import Crew
from tests.engine.world import CODEC, HANGS, World, restored, state_of
from tests.oracle import check_store

PATIENCE_S = 60.0
#: What stands around the steps of a row.
FRAME = """
workflow:
  id: row
  agents: {{crew: {{agent: "tests.conformance.crew:Crew"}}}}
{more}  steps:
{steps}
"""


@dataclass
class Ended:
    """How a run ended, or that it waits; its outputs, or its error."""

    status: str
    outputs: dict[str, Any]
    error: dict[str, Any]


class Host(Protocol):
    """A refused command raises ``InvalidDefinition``."""

    def beside(self, name: str, text: str) -> None:
        """Put a definition where others find it."""
        ...

    def start(self, text: str, **inputs: Any) -> str: ...
    def until(self, run: str, path: str) -> None:
        """Go on until an attempt of a step is held."""
        ...

    def until_completed(self, run: str, path: str) -> None:
        """Go on until a step has completed."""
        ...

    def child(self, run: str) -> str:
        """Go on until a run has asked for a child, and return that."""
        ...

    def open_gate(self) -> None:
        """Let go whoever is held, now and from now on."""
        ...

    def crash(self, run: str) -> None:
        """Lose everything but the log, and have somebody else go on with it."""
        ...

    def finish(self, run: str) -> Ended: ...
    def answer(self, run: str, path: str, **data: Any) -> None: ...
    def until_waiting(self, run: str) -> None:
        """Go on until nothing of a run is at work, and it waits for people, signals or time."""
        ...

    def pass_time(self, seconds: float) -> None: ...
    def signal(self, run: str, name: str, data: Any) -> None: ...
    def approve(self, run: str, path: str, who: str) -> None: ...
    def pause(self, run: str) -> None: ...
    def resume(self, run: str) -> None: ...
    def cancel(self, run: str) -> None:
        """Call a run off; what is held gets a moment to stop."""
        ...

    def change(self, run: str, change: Change, *, next_attempt: bool = False) -> None: ...
    def execute(self, run: str, path: str, inputs: dict[str, Any] | None = None) -> None: ...
    def events(self, run: str) -> list[Any]: ...
    def executed(self, run: str) -> list[str]:
        """Return the steps that agents executed, in order, each as often as it was."""
        ...

    def violations(self, run: str) -> list[str]:
        """Return what does not hold of its history: above all, that its fold is its state."""
        ...

    def close(self) -> None: ...


def workflow(steps: str, more: str = "") -> str:
    """Return the text of a workflow of some steps, which may call ``agent: crew``."""
    indented = "\n".join(f"    {line}" for line in steps.strip("\n").splitlines())
    return FRAME.format(steps=indented, more="".join(f"  {line}\n" for line in more.splitlines()))


def added(step: str, *, after: str = "", before: str = "", into: str = "") -> Change:
    return addition(step, after, before, into)


def modified(step: str, changes: dict[str, Any]) -> Change:
    return modification(step, changes)


def removed(step: str) -> Change:
    return Change("remove_step", step)


class Virtual:
    """The engine in virtual time, on a store in memory. Its fold and its snapshot are compared at every commit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = False
        self._found: list[str] = []
        self._executed: list[tuple[str, str, int]] = []
        self._held: dict[tuple[str, str, int], Any] = {}
        self._count = 0
        self._make()

    def _make(self, store: Any = None, blobs: Any = None) -> None:
        crew = Crew({})
        names = {name: getattr(crew, attribute) for name, (attribute, _) in Crew.actions().items()}
        actions = {name: self._wrapped(name, function) for name, function in names.items()}
        self.world = World(actions, store=store, blobs=blobs)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        from agents import ActionFailed
        from tests.engine.world import Fails

        def run(invocation: Any, **inputs: Any) -> Any:
            self._executed.append((invocation.run, invocation.path, invocation.fence))
            if name == "hold":
                self._held[invocation.run, invocation.path, invocation.fence] = invocation
                return {**inputs, "key": invocation.key} if self._open else HANGS
            try:
                return {**function(**inputs), "key": invocation.key}
            except ActionFailed as failed:
                raise Fails(failed.kind, str(failed)) from failed

        return run

    def beside(self, name: str, text: str) -> None:
        (self._folder / f"{name}.yaml").write_text(text)

    def start(self, text: str, **inputs: Any) -> str:
        document = load(text, "row.yaml")
        assert isinstance(document, WorkflowDocument)
        settings, catalogue = EngineSettings(), Catalogue(self._folder)
        compiled = compile_workflow(document, settings=settings, templates=catalogue)[0]
        plan = replace(compiled, source=source_of(document, settings, used_templates(compiled, catalogue)))
        blobs = self.world.blobs
        family = Family(catalogue, settings, str(self._folder), put=lambda value: blobs.put(CODEC.pack(value)).digest)
        linked = link(plan, Registry(), settings, str(self._folder), family=family)
        self._count += 1
        self._open = False
        run = f"run{self._count}"
        answer = self.world.create(plan, inputs, run=run, link=linked.link)
        assert isinstance(answer, Accepted), answer
        return run

    def _step(self, run: str) -> bool:
        more = self.world.virtual.step()
        live = self.world.host.partition.runs.get(run)
        if live is not None and live.position:
            if state_of(self.world.folded(run)) != state_of(live):
                self._found.append(f"the fold of {run} at {live.position} is not its state")
            if state_of(restored(self.world, live)) != state_of(live):
                self._found.append(f"the snapshot of {run} at {live.position} is not its state")
        return more or bool(self.world.virtual._inbox)

    def until_completed(self, run: str, path: str) -> None:
        for _ in range(10_000):
            if _has_completed(self, run, path):
                return
            self._step(run)
        raise AssertionError(f"{path} never completed")

    def child(self, run: str) -> str:
        for _ in range(10_000):
            if asked := _children(self, run):
                return asked[0]
            self._step(run)
        raise AssertionError(f"{run} asked for no child")

    def until(self, run: str, path: str) -> None:
        for _ in range(10_000):
            live = self.world.host.partition.runs.get(run)
            if live is not None and path in live.open and not self.world.virtual._inbox:
                return
            if not self._step(run):
                due = self.world.host.partition.next_due()
                self.world.clock.advance_to(max(due or 0, self.world.clock.now() + 1))
        raise AssertionError(f"{path} was never held")

    def open_gate(self) -> None:
        self._open = True
        for run, live in self.world.host.partition.runs.items():
            for path, fence in list(live.open.items()):
                # Whoever is held answers now.
                self._answer_held(run, path, fence)

    def _answer_held(self, run: str, path: str, fence: int) -> None:
        from kos_runtime.engine import messages as msg

        invocation = self._held[run, path, fence]
        result = {**CODEC.unpack(invocation.inputs), "key": invocation.key}
        outcome = self.world._outcome(invocation, result)
        step = self.world.host.partition.runs[run].steps[path]
        self.world.virtual.put(msg.Outcomes(step.agent, [outcome]))

    def crash(self, run: str) -> None:
        self._make(self.world.store, self.world.blobs)
        self._step(run)

    def finish(self, run: str) -> Ended:
        for _ in range(100_000):
            if not self._step(run):
                if self.world.host.partition.is_idle() or self.world.status(run) in TERMINAL:
                    break
                due = self.world.host.partition.next_due()
                self.world.clock.advance_to(max(due or 0, self.world.clock.now() + 1))
        status = self.world.status(run)
        failed = self.world.named(ev.RunFailed, run)
        outputs = self.world.outputs(run) if status == "completed" else {}
        return Ended(status, outputs, failed[-1].error if failed else {})

    def _ask(self, command: Any) -> None:
        answer: Answer = self.world.virtual.request(command)
        if not isinstance(answer, Accepted):
            raise InvalidDefinition(answer.message)

    def answer(self, run: str, path: str, **data: Any) -> None:
        self._ask(AnswerTask(run=run, path=path, data=data, by="user:row"))

    def until_waiting(self, run: str) -> None:
        for _ in range(10_000):
            if self.world.status(run) == "waiting":
                return
            self._step(run)
        raise AssertionError(f"{run} never waited")

    def pass_time(self, seconds: float) -> None:
        until = self.world.clock.now() + int(seconds * 1_000)
        while (now := self.world.clock.now()) < until:
            self.world.clock.advance_to(min(until, max(self.world.host.partition.next_due() or until, now + 1)))
            while self.world.virtual.step():
                pass

    def signal(self, run: str, name: str, data: Any) -> None:
        self._ask(SendSignal(run=run, signal=name, data=data, by="user:row"))

    def approve(self, run: str, path: str, who: str) -> None:
        given: dict[str, Any] = {"approved": True, "data": {}, "comment": "", "roles": [], "right": "a row"}
        self._ask(DecideApproval(run=run, path=path, by=f"user:{who}", **given))

    def pause(self, run: str) -> None:
        self._ask(PauseRun(run=run, by="user:row"))

    def resume(self, run: str) -> None:
        self._ask(ResumeRun(run=run, by="user:row"))

    def cancel(self, run: str) -> None:
        self._ask(CancelRun(run=run, by="user:row", reason="a row", grace_ms=200))

    def change(self, run: str, change: Change, *, next_attempt: bool = False) -> None:
        state = self.world.folded(run)
        assert state.program is not None
        assert state.link is not None
        settings = EngineSettings()
        made = changed(state.program.plan, change, settings, f"run {run}")
        before = Linked(state.link, state.link_settings, {"state": "sqlite"})
        linked = link_again(made.plan, Registry(), settings, str(self._folder), before=before)
        blobs = self.world.blobs
        self._ask(
            RevisePlan(
                run=run,
                plan=blobs.put(CODEC.pack(to_plain(made.plan))).digest,
                link=blobs.put(CODEC.pack(to_plain(linked.link))).digest,
                settings={},
                expected=state.revision,
                change=change.change,
                step=made.step,
                fields=made.fields,
                by="user:row",
                reason="a row",
                next_attempt=next_attempt,
            )
        )

    def execute(self, run: str, path: str, inputs: dict[str, Any] | None = None) -> None:
        self._ask(ExecuteStep(run=run, path=path, inputs=inputs, by="user:row"))

    def events(self, run: str) -> list[Any]:
        return self.world.events(run)

    def executed(self, run: str) -> list[str]:
        return [path for one, path, _ in self._executed if one == run]

    def violations(self, run: str) -> list[str]:
        del run
        return self._found

    def close(self) -> None:
        self.world.virtual.close()


class Real:
    """The engine over a real store, with real agents: in this process, or on Ray."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder / ".kos"
        self.kind = kind
        self.ledger, self.gate = folder / "ledger", folder / "gate"
        self.created: list[str] = []
        self._files = 0
        self._connect()

    def _connect(self) -> None:
        crew = {"ledger": str(self.ledger), "gate": str(self.gate)}
        settings = EngineSettings(ray_dashboard=False, agents={"Crew": crew})
        host: Any = self.kind
        self.engine = kos_runtime.client.connect(self.folder, host=host, settings=settings)

    def beside(self, name: str, text: str) -> None:
        (self.folder.parent / f"{name}.yaml").write_text(text)

    def start(self, text: str, **inputs: Any) -> str:
        self.gate.unlink(missing_ok=True)
        self._files += 1
        file = self.folder.parent / f"row{self._files}.yaml"
        file.write_text(text)
        run = self.engine.start(file, inputs=inputs).id
        self.created.append(run)
        return run

    def until_completed(self, run: str, path: str) -> None:
        _wait(lambda: _has_completed(self, run, path), f"{path} completed")

    def child(self, run: str) -> str:
        _wait(lambda: _children(self, run), f"{run} asks for a child")
        return _children(self, run)[0]

    def until(self, run: str, path: str) -> None:
        _wait(lambda: path in self.executed(run), f"{path} is held")

    def open_gate(self) -> None:
        self.gate.touch()

    def crash(self, run: str) -> None:
        if self.kind == "ray":
            self._kill_everything()
        self.engine.close()
        self._connect()
        self.engine.resume(run)

    def _kill_everything(self) -> None:
        from tests.cluster.world import descendants, is_alive, kill

        channel = reach_owner(self.folder)
        assert channel is not None
        owner = next(a for a in channel.request({"op": "agents"}, 30.0)["agents"] if a["agent"] == "kos/owner")
        channel.close()
        for pid in (family := descendants(int(owner["pid"]))):
            with contextlib.suppress(ProcessLookupError):
                kill(pid)
        _wait(lambda: not any(map(is_alive, family)), "everything is gone")

    def finish(self, run: str) -> Ended:
        try:
            return Ended("completed", self.engine.result(run, timeout=PATIENCE_S), {})
        except RunFailed as failed:
            return Ended(failed.status, {}, failed.error or {})
        except RunWaits:
            return Ended("waiting", {}, {})

    def answer(self, run: str, path: str, **data: Any) -> None:
        self.engine.answer(run, path, data)

    def until_waiting(self, run: str) -> None:
        _wait(lambda: self.engine.reading.find(run).status == "waiting", f"{run} waits")

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def signal(self, run: str, name: str, data: Any) -> None:
        self.engine.signal(run, name, data)

    def approve(self, run: str, path: str, who: str) -> None:
        self.engine.approve(run, path, as_=who)

    def pause(self, run: str) -> None:
        self.engine.pause_workflow(run)

    def resume(self, run: str) -> None:
        self.engine.resume_workflow(run)

    def cancel(self, run: str) -> None:
        self.engine.cancel_workflow(run, "a row", grace=0.2)

    def change(self, run: str, change: Change, *, next_attempt: bool = False) -> None:
        from kos_runtime.client import changing

        changing.send(self.engine, run, change, reason="a row", expected=None, next_attempt=next_attempt)

    def execute(self, run: str, path: str, inputs: dict[str, Any] | None = None) -> None:
        self.engine.execute_step(run, path, inputs)

    def events(self, run: str) -> list[Any]:
        with contextlib.closing(Reading(self.folder)) as reading:
            return [line.event for line in reading.lines(run)]

    def _ledger(self) -> list[tuple[str, str, int, int]]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        rows = [line.split() for line in lines]
        return [(run, path, int(attempt), int(fence)) for run, path, attempt, fence in rows]

    def executed(self, run: str) -> list[str]:
        return [path for one, path, *_ in self._ledger() if one == run]

    def violations(self, run: str) -> list[str]:
        del run
        return check_store(self.folder, created=self.created, ledger=self._ledger())

    def close(self) -> None:
        self.gate.touch()
        if self.kind == "ray":
            channel = reach_owner(self.folder)
            if channel is not None:
                channel.request({"op": "stop"}, 30.0)
                channel.close()
        self.engine.close()
        _wait(lambda: not is_owned(self.folder), "the owner ended")


def _has_completed(host: Host, run: str, path: str) -> bool:
    return any(isinstance(event, ev.StepCompleted) and event.path == path for event in host.events(run))


def _children(host: Host, run: str) -> list[str]:
    return [event.child for event in host.events(run) if isinstance(event, ev.ChildRequested)]


def _wait(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.01)
