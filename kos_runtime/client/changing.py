"""How a running workflow is changed: from the text of the plan that it follows to the next one, and into the log.

The engine's partition knows nothing of texts. What a person asks for is compiled here against the revision that the run
is at; when somebody else was quicker, it is done again against theirs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.client.over import need_open
from kos_runtime.composition.discovery import Registry
from kos_runtime.composition.linking import Linked, link_again
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.definition.changing import Change, changed, step_content

if TYPE_CHECKING:
    from kos_runtime.client.engine import WorkflowEngine
    from kos_runtime.ports.control import Message

#: So often a change is made again because somebody else's came first.
TRIES: Final = 5
PLACES: Final = ("after", "before", "into")


class RevisionConflict(InvalidDefinition):
    """Somebody else changed the run first; it is at another revision than was expected."""


def addition(step: str | Mapping[str, Any], after: str, before: str, into: str) -> Change:
    """Return the change that adds a step at one place.

    Raises:
        InvalidDefinition: It is no step, or there is more than one place.
    """
    places = [(place, at) for place, at in zip(PLACES, (after, before, into), strict=True) if at]
    if len(places) > 1:
        raise InvalidDefinition(
            f"a step is added at one place, not {' and '.join(place for place, _ in places)} others"
        )
    place, at = places[0] if places else ("into", "")
    return Change("add_step", at, place, step_content(step, "the step"))


def modification(step: str, changes: str | Mapping[str, Any]) -> Change:
    return Change("modify_step", step, content=step_content(changes, "the changes", whole=False))


def send(
    engine: "WorkflowEngine", run: str, change: Change, *, reason: str, expected: int | None, next_attempt: bool
) -> "Message":
    """Have a run follow its definition as it is after a change.

    Raises:
        NotFound: There is no such run, or step.
        InvalidDefinition: The changed definition means nothing, cannot be linked, or comes too late for a step.
        RevisionConflict: It is not at the revision that was expected, or others were quicker again and again.
    """
    for left in reversed(range(TRIES)):
        try:
            return engine._steer(_message(engine, run, change, expected, next_attempt) | {"reason": reason})
        except RevisionConflict:
            if expected is not None or not left:
                raise
    raise AssertionError("unreachable")


def _message(engine: "WorkflowEngine", run: str, change: Change, expected: int | None, next_attempt: bool) -> "Message":
    from kos_runtime.composition import wiring

    reading = engine.reading
    need_open(reading, run, "only one that is not over can be changed")
    view = reading.view(run)
    if expected is not None and expected != view.revision:
        raise RevisionConflict(f"run {run} is at revision {view.revision}, not {expected}: somebody changed it first")
    before = Linked(reading.link(view.link), view.settings, view.drivers)
    made = changed(reading.plan(view.plan), change, engine.settings, f"run {run}")
    for problem in made.warnings:
        engine._say(f"warning[{problem.code}]: {problem.message}")
    folders = [agent.target.partition("@")[2] for agent in before.link.agents.values()]
    beside = next((Path(folder) for folder in folders if folder), None)
    linked = link_again(
        made.plan,
        Registry(beside=beside),
        engine.settings,
        wiring.cache_dir(str(engine.folder)),
        before=before,
        family=engine.family(engine.catalogue()),
    )
    blobs = wiring.blob_store(str(engine.folder))
    return {
        "op": "revise",
        "run": run,
        "plan": blobs.put(wiring.CODEC.pack(to_plain(made.plan))).digest,
        "link": blobs.put(wiring.CODEC.pack(to_plain(linked.link))).digest,
        "settings": linked.settings,
        "expected": view.revision,
        "change": change.change,
        "step": made.step,
        "fields": made.fields,
        "next_attempt": next_attempt,
    }
