"""The tree of an expression, and the references in it."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from kos_runtime.core.expression.errors import Path, render_path

#: What a reference may begin with, besides the ``as`` names of the loops around it.
DEFAULT_ROOTS: Final = frozenset(
    {"inputs", "steps", "vars", "workflow", "item", "index", "loop", "self", "error", "signal", "secrets"}
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that an expression reads.

    ``root`` is without the dollar. ``path`` is the longest part that is known before anything is computed; an index that
    is itself computed ends it. ``guarded`` says that the reference may lead to nothing, since ``default`` or ``defined``
    stands around it. ``position`` counts characters of the source from 0.
    """

    root: str
    path: Path = ()
    guarded: bool = False
    position: int = 0

    def __str__(self) -> str:
        return render_path(self.root, self.path)


@dataclass(frozen=True, slots=True)
class Literal:
    value: bool | int | float | str | None
    position: int


@dataclass(frozen=True, slots=True)
class Read:
    """The value under a reference."""

    reference: Reference
    position: int


@dataclass(frozen=True, slots=True)
class Access:
    """Members or items of a computed value, one after the other; ``steps`` holds names, indexes or computed keys."""

    base: "Syntax"
    steps: tuple["str | int | Syntax", ...]
    position: int


@dataclass(frozen=True, slots=True)
class ArrayDisplay:
    items: tuple["Syntax", ...]
    position: int


@dataclass(frozen=True, slots=True)
class ObjectDisplay:
    entries: tuple[tuple[str, "Syntax"], ...]
    position: int


@dataclass(frozen=True, slots=True)
class Negation:
    """``-x``."""

    operand: "Syntax"
    position: int


@dataclass(frozen=True, slots=True)
class Not:
    """``not x`` and ``!x``, which bind differently but mean the same."""

    operand: "Syntax"
    position: int


@dataclass(frozen=True, slots=True)
class Junction:
    """A whole chain of ``and`` or of ``or``; ``word`` is which."""

    word: str
    operands: tuple["Syntax", ...]
    position: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """``symbol`` is one of ``== != < <= > >= in`` and ``not in``."""

    symbol: str
    left: "Syntax"
    right: "Syntax"
    position: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A whole chain of operators of one rank, from left to right: a sum is wide, not deep."""

    first: "Syntax"
    rest: tuple[tuple[str, "Syntax", int], ...]
    position: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """``then if condition else otherwise``."""

    condition: "Syntax"
    then: "Syntax"
    otherwise: "Syntax"
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple["Syntax", ...]
    position: int


Syntax: TypeAlias = (
    Literal
    | Read
    | Access
    | ArrayDisplay
    | ObjectDisplay
    | Negation
    | Not
    | Junction
    | Comparison
    | Arithmetic
    | Conditional
    | Call
)
