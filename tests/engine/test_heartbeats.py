"""A process that is not heard of any more: what it held with a heartbeat is lost before its timeout."""

from typing import Any

import pytest

from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.model import Plan, Policy
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import DefinitionError, WorkflowDocument, compile_workflow, load
from kos_runtime.engine import messages as msg
from kos_runtime.engine.limits import Limits

from .world import CODEC, HANGS, START, World, act, plan

HEARTBEAT, TIMEOUT = 30_000, 1_800_000
GRACE = Limits().grace_ms


def hang(_: Invocation, **__: Any) -> Any:
    return HANGS


def world(*, heartbeat_ms: int = HEARTBEAT, timeout_ms: int = TIMEOUT) -> World:
    made = World({"hang": hang})
    step = act("s", "hang", heartbeat_ms=heartbeat_ms, timeout_ms=timeout_ms)
    made.create(plan(step, policies=(Policy(rule="test", ladder=("fail",)),)))
    for _ in range(4):
        made.virtual.step()
    assert made.named(ev.StepScheduled)
    return made


def heard(here: World, *outcomes: Outcome) -> None:
    """The process is heard of, as on Ray: at the latest after ten seconds."""
    here.virtual.put(msg.Outcomes("k-1", list(outcomes), stuck=0))
    here.virtual.step()


def wait(here: World, until: int) -> None:
    while here.clock.now() < START + until:
        here.clock.advance_to(min(here.host.partition.next_due() or 0, START + until))
        here.virtual.step()


def failed(here: World) -> list[str]:
    return [event.error["message"] for event in here.named(ev.StepFailed)]


def test_a_process_that_falls_silent_loses_what_it_held_before_its_timeout() -> None:
    here = world()
    heard(here)
    wait(here, HEARTBEAT + 2 * GRACE - 1)
    assert not failed(here)
    wait(here, HEARTBEAT + 2 * GRACE)
    assert failed(here) == ["k-1 stayed silent beyond its timeout"]
    assert here.status() == "failed"


def test_one_that_is_heard_of_keeps_it_until_the_timeout() -> None:
    here = world()
    for second in range(0, TIMEOUT // 1_000 + 10, 10):
        wait(here, second * 1_000)
        assert not failed(here), second
        heard(here)
    wait(here, TIMEOUT + GRACE)
    assert failed(here)


def test_one_whose_host_says_nothing_between_outcomes_keeps_it_until_the_timeout() -> None:
    here = world()
    wait(here, TIMEOUT + GRACE - 1)
    assert not failed(here)
    wait(here, TIMEOUT + GRACE)
    assert failed(here)


def test_without_a_heartbeat_silence_counts_from_the_timeout() -> None:
    here = world(heartbeat_ms=0)
    heard(here)
    wait(here, TIMEOUT + GRACE - 1)
    assert not failed(here)


def test_without_a_timeout_the_heartbeat_alone_counts() -> None:
    here = world(timeout_ms=0)
    heard(here)
    wait(here, HEARTBEAT + 2 * GRACE)
    assert failed(here)


def test_what_ended_in_time_is_watched_no_more() -> None:
    here = world()
    heard(here, Outcome("r", "s", 1, exposed=CODEC.pack({"result": 1})))
    assert here.status() == "completed"
    assert not here.host.partition.pools.processes["k-1"].watched


def test_the_heartbeat_travels_to_the_agent_and_survives_a_takeover() -> None:
    sent: list[int] = []

    def note(invocation: Invocation, **_: Any) -> Any:
        sent.append(invocation.heartbeat_ms)
        return HANGS

    here = World({"hang": note})
    here.create(plan(act("s", "hang", heartbeat_ms=HEARTBEAT)))
    for _ in range(4):
        here.virtual.step()
    assert sent == [HEARTBEAT]
    after = here.crash()
    after.virtual.put(msg.ProcessUp("k-1", "k", 4, [("r", "s", 1)]))
    after.virtual.step()
    assert after.host.partition.pools.processes["k-1"].watched


def compiled(step: str) -> Plan:
    document = load(f"workflow: {{id: w, steps: [{{id: s, agent: k, action: a, {step}}}]}}", "w.yaml")
    assert isinstance(document, WorkflowDocument)
    return compile_workflow(document)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heartbeat_timeout: 1h", "heartbeat_timeout of 1h is not below the timeout of 30m"),
        ("timeout: 30s, heartbeat_timeout: 30s", "heartbeat_timeout of 30s is not below the timeout of 30s"),
        ("heartbeat_timeout: 10ms", "heartbeat_timeout: must be at least 100ms"),
        ("heartbeat_timeout: soon", "not a duration: 'soon'"),
    ],
)
def test_a_heartbeat_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        compiled(text)
    assert message in str(caught.value)


def test_a_heartbeat_is_read() -> None:
    assert compiled("heartbeat_timeout: 30s").body.steps[0].heartbeat_ms == 30_000
