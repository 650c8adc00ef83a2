"""Who waits for stored values, and which are loaded together.

A run's paths wait in turn. As many are served at once as what they ask for fits into the bound, and at least one; the
next ones come when these were decided. So what is held at a time does not follow from how many wait.
"""

from collections import deque
from typing import Any

from kos_runtime.core.workflow.cache import Cache
from kos_runtime.engine import messages as msg

#: A path, and what it asks for: digest → size.
Wants = tuple[str, dict[str, int]]


class Starved:
    """Paths of runs that wait for data. ``most`` bounds the bytes that are loaded at once, and that are kept."""

    def __init__(self, cache: Cache, most: int) -> None:
        self.cache = cache
        self.most = most
        self._waiting: dict[str, deque[Wants]] = {}
        #: run → those that are being served.
        self._served: dict[str, list[Wants]] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._waiting or run in self._served

    def wants(self, run: str, path: str) -> bool:
        """Say whether a path of a run waits for data."""
        return any(each == path for held in (self._waiting, self._served) for each, _ in held.get(run, ()))

    def add(self, run: str, starved: list[Wants]) -> None:
        """Let paths wait; those that were just served and ask for more come first."""
        waiting = self._waiting.setdefault(run, deque())
        if run in self._served:
            waiting.extend(starved)
        else:
            waiting.extendleft(reversed(starved))

    def load(self, run: str) -> msg.LoadData | None:
        """Return what is to be loaded for a run now, if anything."""
        waiting = self._waiting.get(run)
        if not waiting or run in self._served:
            return None
        digests: dict[str, int] = {}
        served = self._served[run] = []
        while waiting:
            _, wants = waiting[0]
            new = {digest: size for digest, size in wants.items() if digest not in digests}
            if served and sum(digests.values()) + sum(new.values()) > self.most:
                break
            digests.update(new)
            served.append(waiting.popleft())
        if not waiting:
            del self._waiting[run]
        return msg.LoadData(run, tuple(sorted(digest for digest in digests if digest not in self.cache)))

    def loaded(self, run: str, values: dict[str, Any], missing: object) -> tuple[list[str], list[tuple[str, str]]]:
        """Take what was loaded; return the paths that can go on, and (path, digest) of those whose data is gone."""
        served = self._served.pop(run, [])
        sizes = {digest: size for _, wants in served for digest, size in wants.items()}
        gone = {digest for digest, value in values.items() if value is missing}
        for digest, value in values.items():
            if value is not missing:
                self.cache.put(digest, sizes.get(digest, 0), value)
        lost = {path: digest for path, wants in served for digest in wants if digest in gone}
        return [path for path, _ in served if path not in lost], list(lost.items())

    def settled(self, run: str, paths: list[str]) -> None:
        """Paths went on: keep no more than the bound, unless one of them needs what it has together with more."""
        again = {path for path, _ in self._waiting.get(run, ())} | {path for path, _ in self._served.get(run, ())}
        if again.isdisjoint(paths):
            self.cache.trim(self.most)

    def forget(self, run: str) -> None:
        self._waiting.pop(run, None)
        self._served.pop(run, None)
