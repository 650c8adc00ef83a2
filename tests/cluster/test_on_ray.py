"""Runs on a real local Ray while agents and the partition are killed."""

import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.client import RunFailed
from kos_runtime.core.workflow import events as ev
from tests.cluster.listening import listeners_of
from tests.cluster.world import World, descendants, is_alive, kill, wait_until


def test_a_run_completes_and_its_agents_have_names_that_read_well(world: World) -> None:
    world.open_gate()
    run = world.start("three")
    assert world.result(run) == {"first": 1, "last": 1}
    agent = next(agent for agent in world.agents() if agent["kind"] == "kWorker")
    assert agent["agent"].startswith("kWorker-")
    assert world.violations() == []


def test_two_hundred_items_run_and_come_back_in_order(world: World) -> None:
    run = world.start("wide", items=list(range(200)), seconds=0)
    assert world.result(run)["value"] == list(range(200))
    assert world.violations() == []


def test_nothing_listens_beyond_this_machine_and_the_token_is_ours_alone(world: World) -> None:
    world.start("wide", items=[1], seconds=0)
    processes = descendants(world.pid("kos/owner"))
    found = listeners_of(processes)
    assert len(found) > 3, "Ray's servers are among these processes"
    assert {address for address, _ in found} == {"127.0.0.1"}
    assert stat.S_IMODE((world.folder / "ray.token").stat().st_mode) == 0o600


def test_a_killed_agent_is_replaced_and_only_what_it_ran_runs_again(world: World) -> None:
    world.gate.unlink(missing_ok=True)
    run = world.start("three")
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    before = {agent["agent"] for agent in world.agents()}
    for agent in world.agents():
        kill(int(agent["pid"]))
    wait_until(lambda: world.executions(run, "middle") == 2, "the middle step began again")
    world.open_gate()
    assert world.result(run) == {"first": 1, "last": 1}
    assert [world.executions(run, path) for path in ("before", "middle", "after")] == [1, 2, 1]
    assert not before & {agent["agent"] for agent in world.agents()}, "names are not used twice"
    # Those that were dead already when it came to them, and not known to be, are not held against it.
    assert len([cause for cause in world.causes_of_redispatch(run) if cause.startswith("suspect")]) == 1
    assert max(event.attempt for event in world.events(run) if isinstance(event, ev.StepScheduled)) == 1
    assert world.violations() == []


def test_a_process_that_dies_before_it_hears_of_a_step_is_not_held_against_the_step(
    world: World, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    def are_several() -> bool:
        world.result(world.start("wide", items=list(range(12)), seconds=0.3))
        return len([agent for agent in world.agents() if agent["kind"] == "kWorker"]) > 1

    wait_until(are_several, "there is more than one process")
    run = world.start("three", gate=str(gate))
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    holder = next(event.agent for event in reversed(world.events(run)) if isinstance(event, ev.StepScheduled))
    others = [int(agent["pid"]) for agent in world.agents() if agent["kind"] == "kWorker" and agent["agent"] != holder]
    assert others
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    kill(world.pid(holder))
    wait_until(lambda: len(scheduled(world, run)) == 2, "it was given to one that stands still")
    for pid in others:
        kill(pid)
    wait_until(lambda: world.executions(run, "middle") == 2, "the middle step began again")
    gate.touch()
    assert world.result(run) == {"first": 1, "last": 1}
    first, *more = world.causes_of_redispatch(run)
    assert first.startswith("suspect")
    assert more
    assert not any(cause.startswith("suspect") for cause in more)
    assert world.violations() == []


def scheduled(world: World, run: str) -> list[ev.StepScheduled]:
    return [e for e in world.events(run) if isinstance(e, ev.StepScheduled) and e.path == "middle"]


def test_a_killed_partition_comes_back_and_adopts_the_step_that_runs(world: World) -> None:
    world.gate.unlink(missing_ok=True)
    run = world.start("three")
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    wait_until(lambda: world.progress(run, "middle") == "at the gate", "it is told how far it is")
    epoch = world.ask("status")["epoch"]
    kill(world.pid("kos/partition-0"))
    wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
    wait_until(lambda: world.progress(run, "middle") == "at the gate", "it is told again, by the new owner")
    world.open_gate()
    assert world.result(run) == {"first": 1, "last": 1}
    assert [world.executions(run, path) for path in ("before", "middle", "after")] == [1, 1, 1]
    assert world.causes_of_redispatch(run) == []
    assert world.violations() == []


def test_a_step_that_ends_its_process_is_given_up_and_tried_once_more_when_a_person_says_so(
    world: World, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    run = world.start("deadly", gate=str(mended))
    other = world.start("wide", items=list(range(20)), seconds=0.02)
    with pytest.raises(RunFailed, match="poison"):
        world.result(run)
    assert world.executions(run, "before") == 1
    assert world.executions(run, "deadly") == 2
    assert world.result(other)["value"] == list(range(20))
    mended.touch()
    assert world.engine.requeue(run, reason="mended")["event"] == "RunReopened"
    world.result(run)
    assert [world.executions(run, path) for path in ("before", "deadly")] == [1, 3]
    assert world.violations() == []


def test_what_no_node_has_fails_the_step_and_the_text_names_it(world: World) -> None:
    run = world.start("greedy")
    with pytest.raises(RunFailed, match=r"3 unobtainium more is needed; free in the cluster: .*CPU"):
        world.result(run)
    assert world.executions(run, "greedy") == 0


def test_agents_beside_a_file_are_found_by_their_processes_wherever_the_owner_was_started(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "beside_it.py").write_text(
        "from agents import Agent, action\n\n\nclass Teller(Agent):\n    @action\n"
        "    def tell(self) -> dict[str, str]:\n        return {'from': __file__}\n"
    )
    (tmp_path / "flow.yaml").write_text(
        "workflow:\n  id: told\n  outputs: [{name: from, type: string}]\n"
        '  steps: [{id: tell, agent: "beside_it:Teller", action: tell}]\n'
    )
    run = world.engine.start(tmp_path / "flow.yaml").id
    assert world.result(run) == {"from": str(tmp_path.resolve() / "beside_it.py")}


def test_many_creates_travel_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    request = world.engine._request

    def counted(message: dict[str, Any]) -> dict[str, Any]:
        sent.append(message["op"])
        return request(message)

    monkeypatch.setattr(world.engine, "_request", counted)
    path = Path(__file__).with_name("workflows") / "three.yaml"
    inputs = [{"ledger": str(world.ledger_file), "gate": str(world.gate)}] * 1_200
    runs = world.engine.create_workflows(path, inputs)
    assert sent == ["many"] * 3
    assert len({run.id for run in runs}) == 1_200
    assert {run.status() for run in runs[::100]} == {"created"}
    assert world.violations() == []


def test_an_isolated_action_that_does_not_stop_is_ended_with_its_process_and_is_no_poison(world: World) -> None:
    world.gate.unlink(missing_ok=True)
    run = world.start("stubborn")
    with pytest.raises(RunFailed, match="timed out after 200ms"):
        world.result(run)
    assert world.executions(run, "stubborn") >= 4
    attempts = [e for e in world.events(run) if isinstance(e, ev.StepScheduled) and e.path == "stubborn"]
    held_by = {event.agent for event in attempts}
    # One that shares its process would be left to it for ten seconds.
    wait_until(lambda: not held_by & {a["agent"] for a in world.agents()}, "its processes are gone", timeout=6.0)
    assert not any(cause.startswith("suspect") for cause in world.causes_of_redispatch(run))
    assert world.violations() == []


def test_a_cancelled_step_that_does_not_stop_loses_its_process_and_neighbours_go_on(
    world: World, tmp_path: Path
) -> None:
    run = world.start("three", gate=str(tmp_path / "never"))
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    other = world.start("wide", items=list(range(12)), seconds=0.3)
    wait_until(lambda: world.executions(other, "each[0]") == 1, "its neighbour is at work")
    deaf = next(event.agent for event in world.events(run) if getattr(event, "path", "") == "middle")
    pid = world.pid(deaf)
    said = world.engine.cancel_workflow(run, "wrong topic", grace=1.0)
    assert said["event"] == "CancelRequested"
    wait_until(lambda: world.engine.get_workflow_status(run) == "cancelled", "the run is over")
    with pytest.raises(RunFailed, match=r"cancelled by user:.*: wrong topic"):
        world.result(run)
    wait_until(lambda: not is_alive(pid), "the process has ended")
    assert [world.executions(run, path) for path in ("middle", "before:undo", "after")] == [1, 1, 0]
    assert world.result(other)["value"] == list(range(12))
    assert not any(cause.startswith("suspect") for cause in world.causes_of_redispatch(other))
    assert world.violations() == []


def test_a_paused_run_outlives_its_partition_and_goes_on_when_it_is_told_to(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = world.start("three", gate=str(gate))
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    world.engine.pause_workflow(run, "lunch")
    assert world.engine.get_workflow_status(run) == "running", "what runs may end"
    epoch = world.ask("status")["epoch"]
    kill(world.pid("kos/partition-0"))
    wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
    gate.touch()
    wait_until(lambda: world.engine.get_workflow_status(run) == "paused", "it has come to rest")
    assert world.executions(run, "after") == 0
    world.engine.resume_workflow(run)
    assert world.result(run) == {"first": 1, "last": 1}
    assert [world.executions(run, path) for path in ("before", "middle", "after")] == [1, 1, 1]
    assert world.violations() == []


def test_a_conversation_survives_the_death_of_everybody_who_takes_part_in_it(world: World) -> None:
    world.gate.unlink(missing_ok=True)
    run = world.start("talk")
    wait_until(lambda: world.executions(run, "listener@2") == 1, "the second message is being handled")
    kill(next(int(agent["pid"]) for agent in world.agents() if agent["kind"] == "kListener"))
    wait_until(lambda: world.executions(run, "listener@2") == 2, "it is handled again")
    kill(next(int(agent["pid"]) for agent in world.agents() if agent["kind"] == "kTalker"))
    wait_until(lambda: world.executions(run, "talk") == 2, "its sender began again")
    epoch = world.ask("status")["epoch"]
    kill(world.pid("kos/partition-0"))
    wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
    world.open_gate()
    assert world.result(run) == {"heard": [0, 1, 2, 3]}
    events = world.events(run)
    assert [event.number for event in events if isinstance(event, ev.MessageSent)] == [1, 2, 3, 4], "said once"
    assert [event.status for event in events if isinstance(event, ev.MessageHandled)] == ["completed"] * 4
    assert [world.executions(run, f"listener@{number}") for number in (1, 2, 3, 4)] == [1, 2, 1, 1]
    assert [said["reply"]["before"] for said in world.engine.messages(run)] == [0, 1, 2, 3]
    assert world.violations() == []
