"""What the engine's thread knows of the processes, from what their calls say."""

from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from ray.exceptions import ActorDiedError

from kos_runtime.actors.fleet import CallEnded, Fleet, Joined, Member
from kos_runtime.adapters.wire import pack_outcomes, unpack_outcomes
from kos_runtime.core.invocation import Outcome
from kos_runtime.engine import messages as msg


class Calls:
    """Stands in for an actor's handle: calls go nowhere."""

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *_: SimpleNamespace(_on_completed=lambda _: None))


def joined(*holds: tuple[str, str, int]) -> tuple[Fleet, Member]:
    parts: Any = SimpleNamespace(host=SimpleNamespace(epoch=1), unpack_outcomes=unpack_outcomes)
    fleet = Fleet(parts, SimpleQueue(), lambda _: None, lambda *_, **__: None)
    member = Member("k-1", "k", "k", 2, Calls(), {})
    fleet.take(Joined(member, list(holds)))
    return fleet, member


def test_what_a_call_says_of_its_own_batch_does_not_hide_what_runs_beside_it() -> None:
    long, short, queued = ("r", "long", 1), ("r", "short", 1), ("r", "queued", 1)
    fleet, member = joined(long, short, queued)
    fleet.take(CallEnded("k-1", "late", 1, (pack_outcomes([], [long]), [], 0)))
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
    fleet.take(CallEnded("k-1", "late", 1, (pack_outcomes([], [long]), [], 0)))
    (said,) = fleet.take(CallEnded("k-1", "late", 2, (pack_outcomes([Outcome(*long)], []), [], 1)))
    assert member.running == []
    assert isinstance(said, msg.Outcomes)
    assert said.stuck == 1
