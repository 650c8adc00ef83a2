"""Planted bugs: each is one line of shipped code, changed, in a process of its own whose importer changes it.

Nothing on disk is touched. As a plugin of pytest (``-p tests.proof.planting``, with ``KOS_PLANTED=NAME`` in the environment) it
lets any test run against one.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]
PLANTED: Final = "KOS_PLANTED"

Room = Literal["engine", "store", "recovery", "coordination"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """``before`` stands once in ``module``; ``says`` is what the change amounts to; ``hunt`` is what looks for it."""

    name: str
    room: Room
    module: str
    before: str
    after: str
    says: str
    #: What looks for it: one of ``tests.proof.mutants.HUNTS``.
    hunt: str = "worlds"
    #: A seed that shows it, for when those that were drawn do not.
    seed: int = 0

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")

    def source(self) -> str:
        text = self.path.read_text(encoding="utf-8")
        count = text.count(self.before)
        if count != 1:
            raise LookupError(f"the line of the mutant {self.name} stands {count} times in {self.module}")
        return text.replace(self.before, self.after)


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module with its line changed."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if name != self.mutant.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self.mutant.path))

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.source(), str(self.mutant.path), "exec"), module.__dict__)


def plant(mutant: Mutant) -> _Importer:
    """Change the line in this process, which has not imported the module yet."""
    assert mutant.module not in sys.modules, "the module was imported before it could be changed"
    importer = _Importer(mutant)
    sys.meta_path.insert(0, importer)
    return importer


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Have a module that was not imported yet imported with its line changed."""
    importer = plant(mutant)
    try:
        yield
    finally:
        sys.meta_path.remove(importer)


#: What would mend a break when it is let go of.
_HELD: Final[list[Any]] = []


def plant_named(name: str) -> None:
    """Plant a bug by its name, for as long as this process lives."""
    from tests.proof.planted import MUTANTS

    mutant = next((mutant for mutant in MUTANTS if mutant.name == name), None)
    if mutant is not None:
        plant(mutant)
        return
    from tests.coordination.mutants import MUTANTS as BREAKS
    from tests.coordination.mutants import planted

    held = planted(BREAKS[name])
    held.__enter__()
    _HELD.append(held)


if os.environ.get(PLANTED):
    plant_named(os.environ[PLANTED])
