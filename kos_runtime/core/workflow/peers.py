"""The peers of a vote with ``agreement: paxos``, as the run sees them: which process each has, and what they came to.

An attempt of an item is a peer's place in a process: it lasts until the vote is over, and when the process dies the peer
gets another place, under a new fence, and goes on from its own stream. What is agreed on, and how, is the peers' affair.
"""

from typing import Any, Final

from kos_runtime.core.machine import Commanded, Machine, Refused, Run, machine_named
from kos_runtime.core.peer.process import setup_of
from kos_runtime.core.peer.records import vote_stream
from kos_runtime.core.plan.model import Consensus, ForEach
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.state import Codec, Fan, StepState
from kos_runtime.core.workflow.state import Run as WorkflowRun
from kos_runtime.core.workflow.values import fan_value

#: The machine that each peer runs, and the one by which what they came to is worked out again.
PEER: Final = "consensus"
PAXOS: Final = "paxos"


def agreement_of(step: StepState) -> Consensus | None:
    """Return the vote of a step whose items are peers; None of any other."""
    form = step.node.form
    if type(form) is ForEach and form.consensus is not None and form.consensus.agreement == PAXOS:
        return form.consensus
    return None


def is_peer(step: StepState) -> bool:
    return step.index >= 0 and agreement_of(step) is not None


def apart_from(run: WorkflowRun, path: str, electors: int) -> frozenset[str]:
    """Return the processes in which other peers of a vote have their places."""
    return frozenset(run.steps[item].agent for i in range(electors) if (item := f"{path}[{i}]") in run.open)


def book_of(run: WorkflowRun, path: str, vote: Consensus) -> dict[str, str]:
    """Return in which process each peer of a vote is now."""
    return {
        elector: run.steps[item].agent
        for index, elector in enumerate(vote.electors)
        if (item := f"{path}[{index}]") in run.open
    }


def question_of(vote: Consensus, subject: str) -> dict[str, Any]:
    """Return what is put to the vote, as the machines that count are set up with it."""
    return {
        "subject": vote.subject or subject,
        "options": list(vote.options),
        "electors": {name: vote.weights.get(name, 1) for name in vote.electors},
        "rule": vote.rule,
        "threshold": vote.threshold,
        "participation": vote.participation,
        "on_deadlock": vote.on_deadlock,
        **({"breaks_ties": True} if vote.breaks_ties else {}),
    }


def told(codec: Codec, run: WorkflowRun, path: str, index: int, vote: Consensus, now: int) -> bytes:
    """Return what a peer is told of its place."""
    setup = {
        **question_of(vote, path),
        "stream": stream_of(run, path),
        "rounds": vote.rounds,
        "deadline_ms": vote.deadline_ms,
        "seed": run.seed,
    }
    here = run.steps.get(f"{path}[{index}]")
    fresh = here is None or not here.joined
    return setup_of(codec, PEER, vote.electors[index], setup, fresh=fresh, now=now)


def stream_of(run: WorkflowRun, path: str) -> str:
    """Return what the streams of a vote's peers begin with."""
    return vote_stream(run.id, path, run.steps[path].life)


def joined(desk: Desk, path: str) -> None:
    """A peer has written its first record."""
    step = desk.run.steps.get(path)
    if step is not None and not step.joined:
        desk.emit(ev.PeerJoined(path))


def agreed(desk: Desk, step: StepState, fan: Fan, vote: Consensus) -> dict[str, Any] | None:
    """Return what a peer says that they came to, worked out again; None while none has said anything that holds.

    Raises:
        NeedsData: It lies in a blob that is not loaded.
        UnknownMachine: Nobody here can work it out.
    """
    if not fan.results:
        return None
    machine: Machine[Any] = machine_named("ballots")
    for given in fan_value(desk.run, step, ("items",)):
        if given is None:
            continue
        outcome: dict[str, Any] = given["result"]
        votes = [[line["elector"], line["choices"], line["reason"]] for line in outcome["votes"]]
        command = Commanded({"votes": votes, "rounds": outcome["rounds"]})
        found = Run(machine, "ballots", question_of(vote, step.path)).take(command, desk.now).reply
        if not isinstance(found, Refused) and found["certificate"] == outcome["certificate"]:
            return dict(found)
    return None


def cannot_agree(fan: Fan, vote: Consensus) -> bool:
    """Say whether so many peers are gone for good that no majority of them can agree on anything any more."""
    return 2 * (len(vote.electors) - len(fan.failures)) <= len(vote.electors)
