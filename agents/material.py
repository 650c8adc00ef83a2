"""What a reviewer is given, brought into one form: passages, and where each of them stands.

What the executor found fits as it is. What a person entered for a manual task may be plain texts with names of
sources beside them; each text is then taken to come from the source at the same place of the list.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from agents.models import Passage, Source
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed


def passages_of(data: Sequence[Any], sources: Sequence[Any]) -> list[tuple[Passage, Source]]:
    """Return passages with their sources, each text once, in the order given.

    Raises:
        ActionFailed: Something among the data has no text; validation, not recoverable.
    """
    places = [_source(item) for item in sources]
    by_id = {place.id: place for place in places if place is not None}
    found: list[tuple[Passage, Source]] = []
    known: set[tuple[str, str]] = set()
    for number, item in enumerate(data):
        passage = _passage(item, number)
        place = by_id.get(passage.source)
        if place is None:
            beside = places[number] if len(places) == len(data) and not passage.source else None
            place = beside or _own(passage, number)
        key = (place.id, passage.text)
        if key not in known:
            known.add(key)
            found.append((passage, place))
    return found


def questions_of(data: Sequence[Any]) -> int:
    """Return how many questions the data answers, passages found for several counted with each."""
    return len({item.get("question") if isinstance(item, dict) else None for item in data})


def _passage(item: Any, number: int) -> Passage:
    if isinstance(item, Passage):
        return item
    try:
        return Passage(text=item) if isinstance(item, str) else Passage.model_validate(item)
    except ValidationError as error:
        message = f"data[{number}] is no passage: {error.errors()[0]['msg'].lower()}; give a text, or an object with text and source"
        raise ActionFailed(ErrorType.VALIDATION, message, recoverable=False) from error


def _source(item: Any) -> Source | None:
    if isinstance(item, Source):
        return item
    if isinstance(item, str) and item.strip():
        path, _, line = item.rpartition(":")
        whole = path and line.isdigit()
        return Source(id=item, path=path if whole else item, line=int(line) if whole else 0)
    try:
        return Source.model_validate(item)
    except ValidationError:
        return None


def _own(passage: Passage, number: int) -> Source:
    path = passage.path or passage.source or f"data[{number}]"
    return Source(id=passage.source or path, path=path, line=passage.line, heading=passage.heading)
