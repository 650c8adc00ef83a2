"""What the engine's thread knows of the processes, from what their calls say."""

from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError

from kos_runtime.actors.fleet import MAX_SILENCES, CallEnded, Fleet, Joined, Member
from kos_runtime.adapters.wire import pack_outcomes, pack_work, unpack_outcomes
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.engine import messages as msg

#: What the partition was told of how far attempts are.
HEARD: list[Any] = []


class Calls:
    """Stands in for an actor's handle: calls go nowhere, and are counted."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> Any:
            self.made.append(name)
            return SimpleNamespace(_on_completed=lambda _: None)

        return SimpleNamespace(remote=call, options=lambda **_: SimpleNamespace(remote=call))


def joined(*holds: tuple[str, str, int]) -> tuple[Fleet, Member]:
    parts: Any = SimpleNamespace(
        host=SimpleNamespace(epoch=1), unpack_outcomes=unpack_outcomes, pack_work=pack_work, progress=HEARD.extend
    )
    fleet = Fleet(parts, SimpleQueue(), lambda _: None, lambda *_, **__: None)
    member = Member("k-1", "k", "k", 2, Calls(), {})
    fleet.take(Joined(member, list(holds)))
    return fleet, member


def test_what_a_call_says_of_its_own_batch_does_not_hide_what_runs_beside_it() -> None:
    long, short, queued = ("r", "long", 1), ("r", "short", 1), ("r", "queued", 1)
    fleet, member = joined(long, short, queued)
    fleet.take(CallEnded("k-1", "late", 1, (pack_outcomes([], [long]), [], 0, [])))
    fleet.take(CallEnded("k-1", "work", 2, pack_outcomes([Outcome(*short)], [])))
    assert member.running == [long]
    # So when the process dies now, what only waited in it is not among the suspects.
    died, down = fleet.take(CallEnded("k-1", "late", 3, ActorDiedError()))
    assert isinstance(died, msg.Outcomes)
    assert died.running == [long]
    assert isinstance(down, msg.ProcessDown)


def test_what_has_ended_runs_no_more_and_hands_that_are_stuck_are_told() -> None:
    long = ("r", "long", 1)
    fleet, member = joined(long)
    fleet.take(CallEnded("k-1", "late", 1, (pack_outcomes([], [long]), [], 0, [])))
    (said,) = fleet.take(CallEnded("k-1", "late", 2, (pack_outcomes([Outcome(*long)], []), [], 1, [])))
    assert member.running == []
    assert isinstance(said, msg.Outcomes)
    assert said.stuck == 1


def invocation(path: str) -> Invocation:
    return Invocation("r", path, 1, 1, 1, "k", "go", b"\x80", 0, "key")


def test_what_would_be_blamed_for_a_death_is_sent_to_a_process_that_has_just_answered() -> None:
    fleet, member = joined()
    fleet.dispatch(msg.Dispatch("k-1", [invocation("suspect")], alone=True))
    assert member.handle.made == ["late", "running"]
    assert member.open == {}
    fleet.take(CallEnded("k-1", "knock", 2, []))
    assert member.handle.made[2:] == ["work"]
    assert list(member.open) == [("r", "suspect", 1)]
    # From here on it may have begun.
    died, down = fleet.take(CallEnded("k-1", "late", 1, ActorDiedError()))
    assert isinstance(died, msg.Outcomes)
    assert died.running == [("r", "suspect", 1)]
    assert isinstance(down, msg.ProcessDown)
    assert down.unsent == []


def test_what_a_process_never_got_is_said_when_it_dies() -> None:
    fleet, _ = joined()
    fleet.dispatch(msg.Dispatch("k-1", [invocation("suspect")], alone=True))
    (down,) = fleet.take(CallEnded("k-1", "knock", 2, ActorDiedError()))
    assert isinstance(down, msg.ProcessDown)
    assert down.unsent == [("r", "suspect", 1)]


def test_a_process_out_of_reach_is_knocked_at_again_and_ended_when_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(ray, "kill", lambda handle, **_: killed.append(handle))
    fleet, member = joined()
    fleet.dispatch(msg.Dispatch("k-1", [invocation("suspect")], alone=True))
    for number in range(MAX_SILENCES):
        assert fleet.take(CallEnded("k-1", "knock", number, ActorUnavailableError("away", None))) == ()
    assert member.handle.made == ["late", *["running"] * (MAX_SILENCES + 1)]
    (down,) = fleet.take(CallEnded("k-1", "knock", 99, ActorUnavailableError("away", None)))
    assert isinstance(down, msg.ProcessDown)
    assert killed == [member.handle]


def test_how_far_an_attempt_is_goes_to_whoever_tells_it_and_not_into_the_log() -> None:
    long = ("r", "long", 1)
    fleet, _ = joined(long)
    HEARD.clear()
    (said,) = fleet.take(CallEnded("k-1", "late", 1, (pack_outcomes([], [long]), [], 0, [(long, "half", 0.5)])))
    assert [(long, "half", 0.5)] == HEARD
    assert isinstance(said, msg.Outcomes)
    assert said.outcomes == []
