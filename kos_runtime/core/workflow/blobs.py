"""Which blobs an event mentions, so that they are kept, moved and counted with it."""

from collections.abc import Iterator
from typing import Any, Final

from kos_runtime.core.event import TYPES

#: Fields that hold one address, and those that hold a list of named ones.
_ONE: Final = "_blob"
_MANY: Final = "blobs"


def blobs_of(event: Any) -> Iterator[str]:
    """Yield the digests of the values that an event keeps outside itself."""
    for name in TYPES[type(event)].fields:
        if name == _MANY:
            yield from (blob[1] for blob in getattr(event, name))
        elif name.endswith(_ONE):
            blob = getattr(event, name)
            if blob is not None:
                yield blob[0]
