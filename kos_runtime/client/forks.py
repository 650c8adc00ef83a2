"""What a fork would do, before anything is asked of the engine."""

from kos_runtime.client.folding import events_of, take
from kos_runtime.client.over import need_run
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import InvalidDefinition, KosError, NotFound, UserError
from kos_runtime.core.workflow.forking import acted_since, at_the_end, refusal, taken
from kos_runtime.core.workflow.state import Run


def acting_again(reading: Reading, run: str, at: int, changed: list[str]) -> list[str]:
    """Return the steps that acted in a run behind one of its events, or were at work then: a fork does them again.

    Raises:
        NotFound: It has no such event.
        InvalidDefinition: It has ended there, its payloads are gone, or its events cannot be read.
    """
    need_run(reading, run)
    try:
        history = [(record.position, events_of(reading, record)) for record in reading.records(run)]
        refused = refusal(history, run, at)
        if refused is not None:
            raise NotFound(f"{refused.message}; see: kos events {run}")
        events, after = taken(history, at, changed)
        refused = at_the_end(events, run, at)
        if refused is not None:
            raise InvalidDefinition(refused.message)
        state = Run(run, reading.log.store_id, reading.codec)
        for event in events:
            take(reading, state, event)
    except UserError:
        raise
    except (KosError, ValueError, KeyError) as error:
        raise InvalidDefinition(f"run {run} cannot be read: {error}; see: kos verify {run}") from error
    return acted_since(state, after)
