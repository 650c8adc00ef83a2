"""Row 10: ``wait``, ``wait_for`` and ``approval`` survive ``kill -9``, and go on in a new process.

It catches: timers that are not stored; a signal that is taken although it does not match; a person who counts twice
when the owner was killed in between.
"""

from collections.abc import Callable

import pytest

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, DecideApproval, SendSignal
from tests.conformance.hosts import Host, workflow

from .virtual_time import VirtualTime

Make = Callable[..., VirtualTime]

HOUR = 3_600_000
WAIT = "workflow: {id: w, outputs: [{name: n, value: 1}], steps: [{id: pause, wait: {for: 1h}}]}"
UNTIL = """
workflow:
  id: w
  inputs: [{name: at, type: datetime, required: false}]
  outputs: [{name: n, value: 1}]
  steps: [{id: pause, wait: {until: $inputs.at}}]
"""
SIGNAL = """
workflow:
  id: w
  outputs: [{name: who, value: $steps.ack.who}]
  steps: [{id: ack, wait_for: {signal: reader_ack, match: $signal.run == $workflow.run_id, timeout: 2h}}]
"""
APPROVAL = """
workflow:
  id: w
  inputs: [{name: n, type: integer, required: true}]
  outputs: [{name: ok, value: $steps.ask.approved}, {name: by, value: $steps.ask.decided_by}, {name: why, value: $steps.ask.why}]
  steps:
    - id: ask
      approval:
        prompt: "publish ${{ $inputs.n }}?"
        show: {n: $inputs.n}
        approvers: ["role:editor"]
        quorum: 2
        form: {why: {type: string, required: false}}
        timeout: 24h
"""
#: All three at once, of which each is told half before everything is lost.
ALL = """
- {id: pause, wait: {for: 3s}}
- {id: ack, wait_for: {signal: reader_ack, match: $signal.n == 2, timeout: 2h}}
- {id: ask, approval: {prompt: "publish?", approvers: ["user:jr", "user:kim"], quorum: 2, timeout: 24h}}
- {id: last, depends_on: [pause, ack, ask], agent: crew, action: note, inputs: {value: $steps.ack.n}, outputs: {value: value}}
"""


@pytest.fixture
def world() -> Make:
    """Return what makes a world in which time is moved by hand."""
    return lambda **actions: VirtualTime(actions)


def decide(name: str, *, approved: bool = True, roles: tuple[str, ...] = ("editor",), **data: object) -> DecideApproval:
    return DecideApproval(
        run="r",
        path="ask",
        approved=approved,
        data=data,
        comment="",
        by=f"user:{name}",
        roles=list(roles),
        right="test",
    )


@pytest.mark.parametrize("kills", [0, 1, 3])
def test_a_wait_goes_on_over_kills_and_ends_neither_early_nor_again(world: Make, kills: int) -> None:
    here = world()
    here.start(WAIT)
    assert (here.status(), here.waiting(), here.in_memory) == ("waiting", "time: pause", 0)
    for _ in range(kills):
        here.pass_time(HOUR // 4)
        here.kill()
    here.pass_time(HOUR - kills * (HOUR // 4) - 1)
    assert here.status() == "waiting"
    here.pass_time(1)
    assert here.status() == "completed"
    assert [event.path for event in here.events(ev.WaitEnded)] == ["pause"]


def test_a_wait_that_was_over_while_nobody_owned_the_store_ends_at_once(world: Make) -> None:
    here = world()
    here.start(UNTIL, at="2023-11-15T00:00:00Z")
    assert here.status() == "waiting"
    here.pass_time(24 * HOUR)
    assert here.status() == "completed"
    there = world()
    there.start(UNTIL)
    assert there.status() == "completed"


@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_a_signal_that_is_waited_for_comes_over_kills(world: Make, when: str) -> None:
    here = world()
    here.start(SIGNAL)
    assert (here.status(), here.waiting()) == ("waiting", "signal: ack")
    if when != "after":
        here.kill()
    assert isinstance(
        here.tell(SendSignal(run="r", signal="reader_ack", data={"run": "other"}, by="user:jr")), Accepted
    )
    assert here.status() == "waiting"
    if when != "before":
        here.kill()
    assert isinstance(
        here.tell(SendSignal(run="r", signal="reader_ack", data={"run": "r", "who": "jr"}, by="user:jr")), Accepted
    )
    assert (here.status(), here.outputs()) == ("completed", {"who": "jr"})
    assert [event.number for event in here.events(ev.SignalTaken)] == [2]


def test_nobody_comes_in_time_also_when_the_owner_was_killed_meanwhile(world: Make) -> None:
    here = world()
    here.start(SIGNAL)
    here.kill()
    here.pass_time(2 * HOUR)
    assert here.status() == "failed"
    (late,) = here.events(ev.WaitingTimedOut)
    assert late.then == "fail"


def test_an_approval_keeps_what_each_person_said_over_kills(world: Make) -> None:
    here = world()
    here.start(APPROVAL, n=3)
    assert (here.status(), here.waiting()) == ("waiting", "approval: ask")
    here.kill()
    assert isinstance(here.tell(decide("jr", why="good")), Accepted)
    assert here.status() == "waiting"
    here.kill()
    again = here.tell(decide("jr"))
    assert not isinstance(again, Accepted)
    assert "counts once" in again.message
    assert isinstance(here.tell(decide("kim")), Accepted)
    assert (here.status(), here.outputs()) == ("completed", {"ok": True, "by": ["user:jr", "user:kim"], "why": "good"})
    (asked,) = here.events(ev.ApprovalRequested)
    assert [given.digest for given in here.events(ev.ApprovalGiven)] == [asked.digest] * 2
    late = here.tell(decide("lee"))
    assert not isinstance(late, Accepted)
    assert late.message == "run r is completed"


def test_what_is_waited_for_survives_that_everything_is_killed_on_every_host(host: Host) -> None:
    run = host.start(workflow(ALL, "execution_order: parallel\noutputs: [{name: n, value: $steps.last.value}]"))
    host.until_waiting(run)
    host.signal(run, "reader_ack", {"n": 1})
    host.approve(run, "ask", "jr")
    host.crash(run)
    with pytest.raises(InvalidDefinition, match="counts once"):
        host.approve(run, "ask", "jr")
    host.signal(run, "reader_ack", {"n": 2})
    host.approve(run, "ask", "kim")
    host.pass_time(3.5)
    ended = host.finish(run)
    assert (ended.status, ended.outputs) == ("completed", {"n": 2})
    events = host.events(run)
    assert [event.path for event in events if isinstance(event, ev.WaitEnded)] == ["pause"]
    assert [event.number for event in events if isinstance(event, ev.SignalTaken)] == [2]
    assert [event.by for event in events if isinstance(event, ev.ApprovalGiven)] == ["user:jr", "user:kim"]
    assert host.violations(run) == []
