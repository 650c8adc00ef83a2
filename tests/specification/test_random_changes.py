"""Whatever is changed while a workflow runs, and whenever: the run follows its log, ends, and survives a cut."""

import random
from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.errors import UserError
from kos_runtime.core.plan.change import differences
from kos_runtime.core.plan.check import faults, steps_of
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    Accepted,
    Answer,
    ExecuteStep,
    PauseRun,
    Rejected,
    ResumeRun,
    RevisePlan,
)
from kos_runtime.core.workflow.revised import definition_of
from kos_runtime.definition import DefinitionError, EngineSettings, WorkflowDocument, compile_workflow, load
from kos_runtime.definition.changing import Change, changed, source_of
from kos_runtime.definition.yaml_writer import write_yaml
from tests.engine.world import CODEC, Recording, World, restored, state_of
from tests.specification.random_workflows import ACTIONS, Workflows, link
from tests.specification.test_random_workflows import cut, result_of

EACH = 10
#: What is over, and must be the same before and after a change.
_OVER = frozenset({"completed", "skipped", "failed"})


class Changes:
    """Draws one change after the other of a run at work, and what a person does beside it."""

    def __init__(self, seed: int, world: World, plan: Plan) -> None:
        self.draw = random.Random(seed)
        self.world, self.plan = world, plan
        self.revision = self.count = self.accepted = 0
        self.refused: list[str] = []

    def goes_on(self) -> bool:
        return self.accepted < 12 and self.world.status() in {"running", "paused", "waiting"}

    def act(self) -> None:
        chance = self.draw.random()
        if chance < 0.6:
            self.change()
        elif chance < 0.85:
            self.ask(PauseRun(run="r", by="user:jr"))
        elif chance < 0.88:
            self.ask(ResumeRun(run="r", by="user:jr"))
        elif chance < 0.95:
            steps = [
                (path, step) for path, step in steps_of(self.plan.body) if step.on_demand or self.draw.random() < 0.2
            ]
            if steps:
                path, step = self.draw.choice(steps)
                inputs = {"a": 1, "b": 2} if "a" in (step.inputs or {}) and self.draw.random() < 0.5 else None
                self.ask(ExecuteStep(run="r", path=path, inputs=inputs, by="user:jr"))

    def ask(self, command: Any) -> Answer:
        return self.world.virtual.request(command)

    def change(self) -> None:
        paths = [path for path, _ in steps_of(self.plan.body)]
        try:
            made = changed(self.plan, self.drawn(paths), EngineSettings(), "run r").plan
        except (UserError, DefinitionError):
            return
        assert faults(made) == ()
        self.revise(made, next_attempt=self.draw.random() < 0.3)

    def drawn(self, paths: list[str]) -> Change:
        at = self.draw.choice(paths)
        match self.draw.choice(["add", "add", "remove", "modify", "modify"]):
            case "add":
                self.count += 1
                step: dict[str, Any] = {"id": f"n{self.count}", "agent": "k", "action": "add"}
                step["inputs"] = {"a": self.draw.choice([1, "$inputs.n"]), "b": 2}
                step["on_demand"] = self.draw.random() < 0.2
                if self.draw.random() < 0.2:
                    step["when"] = self.draw.choice(["true", "false"])
                place = self.draw.choice(["after", "before", "into", "end"])
                return Change("add_step", "" if place == "end" else at, "into" if place == "end" else place, step)
            case "remove":
                return Change("remove_step", at)
            case _:
                patches: list[dict[str, Any]] = [
                    {"timeout": "77s"}, {"when": "true"}, {"when": None}, {"depends_on": [paths[0]]}, {"retry": {"max_retries": 1}},
                ]  # fmt: skip
                if "a" in (dict(steps_of(self.plan.body))[at].inputs or {}):
                    patches += [{"inputs": {"a": 7}}, {"inputs": {"b": "$inputs.n"}}, {"action": "hard"}]
                patch = self.draw.choice(patches)
                return Change("modify_step", at, content=patch)

    def revise(self, made: Plan, *, next_attempt: bool) -> None:
        before = self.over()
        blobs = self.world.blobs
        answer = self.ask(
            RevisePlan(
                run="r",
                plan=blobs.put(CODEC.pack(to_plain(made))).digest,
                link=blobs.put(CODEC.pack(to_plain(link()))).digest,
                settings={},
                expected=self.revision,
                change="modify_step",
                step="",
                fields=[],
                by="user:jr",
                next_attempt=next_attempt,
            )
        )
        if isinstance(answer, Rejected):
            assert answer.code in {"conflict", "invalid", "not_found"}, answer
            self.refused.append(answer.message)
            return
        if answer.existing:
            return
        kept = {change.path for change in differences(self.plan, made)} & before
        assert next_attempt or not kept, f"{kept} ran and was changed"
        self.revision += 1
        self.accepted += 1
        self.plan = made

    def over(self) -> set[str]:
        run = self.world.host.partition.runs.get("r")
        return set() if run is None else {definition_of(s) for s in run.steps.values() if str(s.status) in _OVER}


def check(world: World) -> None:
    run = world.host.partition.runs.get("r")
    if run is not None and run.position:
        assert state_of(world.folded()) == state_of(run)
        assert state_of(restored(world, run)) == state_of(run)


def drive(world: World, changes: Changes) -> None:
    """Go on until nothing is at work, with something asked for between any two commits."""
    for _ in range(3_000):
        more = world.virtual.step()
        check(world)
        for _ in range(changes.draw.randint(0, 3) if changes.goes_on() else 0):
            changes.act()
            check(world)
        if not more and not world.virtual._inbox:
            if world.host.partition.is_idle():
                if world.status() != "paused":
                    return
                if changes.draw.random() < 0.3:
                    changes.ask(ResumeRun(run="r", by="user:jr"))
                continue
            world.clock.advance_to(max(world.host.partition.next_due() or 0, world.clock.now() + 1))
    raise AssertionError(f"it never ended: {world.events()[-1]}")


def drawn(seed: int) -> tuple[dict[str, Any], Plan]:
    document = load(write_yaml(Workflows(seed).workflow()), f"seed {seed}")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document)
    return document.content, replace(plan, source=source_of(document, EngineSettings()))


def complete(world: World) -> None:
    """See that what the last plan asks for is over in a run that completed, and that every fence is its own."""
    fences = [(event.path, event.fence) for event in world.named(ev.StepScheduled)]
    assert len(fences) == len(set(fences))
    if world.status() != "completed":
        return
    run = world.folded()
    assert run.program is not None
    for id, node in run.program.body.nodes.items():
        step = run.steps.get(id)
        if step is None:
            assert node.step.on_demand, f"{id} never ran"
        else:
            assert str(step.status) in {"completed", "skipped"}, (id, step.status)


@pytest.mark.parametrize("start", range(0, 8 * EACH, EACH))
def test_a_random_workflow_with_random_changes(start: int) -> None:
    accepted = 0
    refused: list[str] = []
    for seed in range(start, start + EACH):
        content, plan = drawn(seed)
        world = World(ACTIONS, hands=1)
        assert isinstance(world.create(plan, {"n": seed % 6}, link=link()), Accepted), seed
        changes = Changes(seed, world, plan)
        if seed % 2:
            changes.ask(PauseRun(run="r", by="user:jr"))
        drive(world, changes)
        accepted += changes.accepted
        refused += changes.refused
        whole = result_of(world)
        complete(world)
        assert isinstance(world.store, Recording)
        commits = sum(1 for batch in world.store.appended if batch.records)
        half = cut(world, random.Random(seed).randint(1, commits))
        done = {event.path for event in half.named(ev.StepCompleted)}
        half.virtual.run_until_idle()
        if half.status() == "paused":
            half.virtual.request(ResumeRun(run="r", by="user:jr"))
            half.virtual.run_until_idle()
        result_of(half)
        complete(half)
        assert not done & {path for path, *_ in half.executed}, seed
        if half.folded().revision == world.folded().revision and not Workflows.races(content):
            asked = len(world.named(ev.StepRequested)) == len(half.named(ev.StepRequested))
            assert not asked or result_of(half) == whole, seed
    assert accepted >= EACH // 3, "changes are made"
    assert refused, "and some come too late"
