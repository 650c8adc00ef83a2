"""Conflicts between versions: found by what each has seen, settled field by field, and nothing is dropped unsaid.

A version that knows another replaces it, without loss. Those that do not know each other are in conflict, and what settles
each field is named beforehand: a merge by type, the authority's rank, a vote, or nobody here, and it is escalated. The
wall clock settles nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from coordination.merging import MERGES, merge, text
from coordination.versions import is_newer, together

STRATEGIES: Final = (*MERGES, "priority", "vote", "escalate")
MAX_VERSIONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Version:
    """What one author says, and what the author had seen."""

    author: str
    seen: Mapping[str, int]
    fields: Mapping[str, Any]
    #: The author's rank; higher wins where ``priority`` settles.
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one field: by what, what was kept, what was dropped and whose it was."""

    strategy: str
    kept: Any
    discarded: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """What came of a conflict. Fields that are open wait for a vote or for whoever it is escalated to."""

    seen: Mapping[str, int]
    fields: Mapping[str, Settled]
    #: Field by field: ``vote`` or ``escalate``, and the values to choose from, in canonical order, with their authors.
    open: Mapping[str, tuple[str, tuple[tuple[Any, tuple[str, ...]], ...]]] = field(default_factory=dict)
    superseded: tuple[str, ...] = ()


def siblings(versions: Sequence[Version]) -> tuple[list[Version], list[Version]]:
    """Part versions into those that no other replaces, and those that one does; both in canonical order."""
    found = {text([version.author, dict(version.seen), dict(version.fields)]): version for version in versions}
    ordered = [found[key] for key in sorted(found)]
    kept = [one for one in ordered if not any(is_newer(other.seen, one.seen) for other in ordered)]
    return kept, [one for one in ordered if all(one is not other for other in kept)]


def resolve(versions: Sequence[Version], strategies: Mapping[str, str], default: str = "escalate") -> Resolution:
    """Settle a conflict, as far as it can be settled here.

    The same versions come to the same resolution, in whatever order and however often they are given.

    Raises:
        ValueError: There is no version, a strategy does not exist, or a value does not fit its type.
    """
    if not versions:
        raise ValueError("there is no version to choose from")
    if len(versions) > MAX_VERSIONS:
        raise ValueError(f"at most {MAX_VERSIONS} versions are resolved together, not {len(versions)}")
    for name, strategy in {**strategies, "": default}.items():
        if strategy not in STRATEGIES:
            raise ValueError(f"{name or 'the default'}: no strategy {strategy!r}; one of {', '.join(STRATEGIES)}")
    kept, superseded = siblings(versions)
    settled: dict[str, Settled] = {}
    left: dict[str, tuple[str, tuple[tuple[Any, tuple[str, ...]], ...]]] = {}
    for name in sorted({name for version in kept for name in version.fields}):
        rivals = [version for version in kept if name in version.fields]
        strategy = strategies.get(name, default)
        values = _values(name, rivals)
        if strategy in MERGES:
            settled[name] = Settled(strategy, merge(strategy, [version.fields[name] for version in rivals]))
        elif len(values) == 1:
            settled[name] = Settled("same", values[0][0])
        elif strategy == "priority":
            _by_rank(name, rivals, values, settled, left)
        else:
            left[name] = strategy, values
    seen = together(version.seen for version in versions)
    return Resolution(seen, settled, left, tuple(version.author for version in superseded))


def _values(name: str, rivals: Sequence[Version]) -> tuple[tuple[Any, tuple[str, ...]], ...]:
    """Return the different values of a field, each with its authors."""
    found: dict[str, tuple[Any, list[str]]] = {}
    for version in rivals:
        value = version.fields[name]
        found.setdefault(text(value), (value, []))[1].append(version.author)
    return tuple((found[key][0], tuple(sorted(set(found[key][1])))) for key in sorted(found))


def _by_rank(
    name: str,
    rivals: Sequence[Version],
    values: tuple[tuple[Any, tuple[str, ...]], ...],
    settled: dict[str, Settled],
    left: dict[str, tuple[str, tuple[tuple[Any, tuple[str, ...]], ...]]],
) -> None:
    """Let the highest rank decide; when those of that rank do not agree, it is escalated."""
    highest = max(version.rank for version in rivals)
    first = _values(name, [version for version in rivals if version.rank == highest])
    if len(first) > 1:
        left[name] = "escalate", first
        return
    kept = first[0][0]
    dropped = tuple((author, value) for value, authors in values if text(value) != text(kept) for author in authors)
    settled[name] = Settled("priority", kept, dropped)


def settle(resolution: Resolution, name: str, kept: Any, strategy: str) -> Resolution:
    """Close a field that was open, by the outcome of a vote or by somebody's word. Once.

    Raises:
        ValueError: The field is not open, or the value is none of those to choose from.
    """
    if name not in resolution.open:
        raise ValueError(f"field {name!r} is not open")
    _, values = resolution.open[name]
    if all(text(value) != text(kept) for value, _ in values):
        raise ValueError(f"field {name!r}: the value is none of those that were said")
    dropped = tuple((author, value) for value, authors in values if text(value) != text(kept) for author in authors)
    fields = {**resolution.fields, name: Settled(strategy, kept, dropped)}
    return Resolution(
        resolution.seen,
        dict(sorted(fields.items())),
        {other: what for other, what in resolution.open.items() if other != name},
        resolution.superseded,
    )
