"""Random workflows that call others and use templates: they end the same wherever their host was ended."""

import random
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from kos_runtime.core.plan.check import faults
from kos_runtime.core.plan.link import ChildLink, Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, ForkRun, Rejected, RestoreRun
from kos_runtime.definition import TemplatesDocument, WorkflowDocument, compile_workflow, load
from kos_runtime.definition.yaml_writer import write_yaml
from tests.engine.world import CODEC, Recording, World
from tests.specification.random_workflows import ACTIONS, DEPTH, Steps, Workflows, link
from tests.specification.test_random_forks import drive, repeatable, result_of
from tests.specification.test_random_workflows import cut

EACH = 6
#: How many workflows and templates there are to call and to use.
OTHERS = 3


class Callers(Workflows):
    """Draws a workflow that calls ``w0`` … and uses ``t0`` …"""

    def step(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        if depth >= DEPTH or self.draw.random() > 0.35:
            return super().step(depth, seen, around)
        given = {"n": self.value([], ["$inputs.n", *(name for name in around if name in {"$index", "$loop.index"})])}
        other = self.draw.randrange(OTHERS)
        if self.draw.random() < 0.5:
            form: dict[str, Any] = {"template": {"use": f"t{other}", "with": given}}
        else:
            close = self.draw.choice(["cancel", "abandon"])
            form = {"workflow": {"id": f"w{other}", "inputs": given, "parent_close": close}}
        step = {"id": self.id(), **form}
        if self.draw.random() < 0.2:
            step["when"] = self.condition(seen, around)
        return [step], [f"$steps.{step['id']}.result"]


class Drawn:
    """One family: the caller's plan, those of the workflows that it may call, and whether any of it races."""

    def __init__(self, seed: int) -> None:
        drawn = (Workflows(seed * 1_000 + n).workflow() for n in range(1_000))
        others = list(islice((other for other in drawn if not Workflows.races(other)), 2 * OTHERS))
        used = load(
            write_yaml({"templates": {f"t{n}": _without_run(others[n]["workflow"]) for n in range(OTHERS)}}), f"{seed}"
        )
        assert isinstance(used, TemplatesDocument)
        templates = {name: used.workflow(name) for name in used.content}
        caller = Callers(seed).workflow()
        self.plan = _compiled(caller, seed, templates)
        self.called = {f"w{n}": _compiled(others[OTHERS + n], seed, {}) for n in range(OTHERS)}
        self.races = Workflows.races(caller)

    def link(self, world: World, own: Link) -> Link:
        children = {}
        for name, plan in self.called.items():
            stored = [world.blobs.put(CODEC.pack(to_plain(value))).digest for value in (plan, own)]
            children[name] = ChildLink(workflow=name, version="", plan=stored[0], link=stored[1])
        return replace(own, children=children)


def _without_run(content: dict[str, Any]) -> dict[str, Any]:
    """A template has no id, priority or limits: those are its run's."""
    return {key: value for key, value in content.items() if key in {"steps", "error_handling", "execution_order"}}


def _compiled(content: dict[str, Any], seed: int, templates: dict[str, Any]) -> Plan:
    document = load(write_yaml(content), f"seed {seed}")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document, templates=templates)
    assert faults(plan) == (), seed
    return plan


def begun(seed: int, own: Link) -> tuple[Drawn, World]:
    drawn, world = Drawn(seed), World(ACTIONS)
    answer = world.create(drawn.plan, {"n": random.Random(seed).randint(0, 5)}, link=drawn.link(world, own))
    assert isinstance(answer, Accepted), seed
    drive(world, "r")
    _check(world, seed)
    return drawn, world


def _check(world: World, seed: int) -> None:
    """See that no run waits for one that is over, and that each that was asked for is there."""
    rows = {row.run: row.status for row in world.store.runs(limit=10_000)}
    for run, status in rows.items():
        for child in (event.child for event in world.named(ev.ChildRequested, run)):
            assert child in rows, (seed, run, child)
        if status in {"running", "waiting"}:
            waits = [child for child, _ in world.folded(run).children.values()]
            assert [child for child in waits if rows[child] not in {"running", "waiting"}] == [], (seed, run)


@pytest.mark.parametrize("start", range(0, 3 * EACH, EACH))
def test_a_random_family_survives_a_cut(start: int) -> None:
    for seed in range(start, start + EACH):
        drawn, world = begun(seed, link())
        whole = result_of(world, "r")
        assert isinstance(world.store, Recording)
        commits = sum(1 for batch in world.store.appended if batch.records)
        half = cut(world, random.Random(seed).randint(1, commits))
        half.virtual.run_until_idle()
        _check(half, seed)
        if not drawn.races:
            assert result_of(half, "r") == whole, seed


@pytest.mark.parametrize("start", range(0, 2 * EACH, EACH))
def test_a_random_family_is_forked_and_taken_back_anywhere(start: int) -> None:
    for seed in range(start, start + EACH):
        drawn, world = begun(seed, repeatable())
        whole = result_of(world, "r")
        at = random.Random(seed).randint(1, len(world.store.stream("run/r", limit=100_000)))
        fork = ForkRun(run="f", parent="r", at=at, changes=[], salt=b"f" * 16, by="user:test")
        answer = world.virtual.request(fork)
        if not isinstance(answer, Rejected):
            drive(world, "f")
            _check(world, seed)
            if not drawn.races:
                assert result_of(world, "f") == whole, seed
        if not isinstance(world.virtual.request(RestoreRun(run="r", to=at, by="user:test")), Rejected):
            drive(world, "r")
            _check(world, seed)
            if not drawn.races:
                assert world.status() == whole[0], seed
