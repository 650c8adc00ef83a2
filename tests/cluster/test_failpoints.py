"""Actors that die at named places: everything is as if they had not, and every place is come to."""

from typing import Any

from kos_runtime.core.workflow import events as ev
from tests.proof.ray_kills import PLACES, Life, owned


def test_actors_die_at_one_place_after_another_and_nothing_completed_runs_again() -> None:
    with owned() as life:
        life.trial("adopting", ("partition", "append.commit", 20), ("agent", "inventory.after", 1))
        life.trial("asking", ("partition", "answer.after", 1), ("agent", "late.after", 1))
        life.trial("working", ("agent", "work.after", 1), ("partition", "outcomes.before", 2))
        life.trial("starting", ("agent", "action.before", 1), ("partition", "start.made", 1))
        assert life.hits == {
            "partition append.commit": 1, "agent inventory.after": 1, "partition answer.after": 1, "agent late.after": 1,
            "agent work.after": 1, "partition outcomes.before": 1, "agent action.before": 1, "partition start.made": 1,
        }  # fmt: skip
        assert life.violations() == []
        assert life.visited() == {f"{role} {place}" for role, place in PLACES}


def test_a_process_that_dies_while_it_starts_takes_no_attempt() -> None:
    with owned() as life:
        life.trial("start", ("agent", "prepare.before", 1))
        assert life.hits == {"agent prepare.before": 1}
        assert life.violations() == []
        assert failures(life) == []


def failures(life: Life) -> list[Any]:
    """Return attempts that failed, but for the one that is told to."""
    reading = life.engine.reading
    events = [line.event for row in reading.log.runs(limit=9) for line in reading.lines(row.run)]
    return [event for event in events if isinstance(event, ev.StepFailed) and event.path != "ask"]
