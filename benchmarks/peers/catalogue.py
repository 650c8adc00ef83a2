"""Who is compared, on what, and what each of them promises of a step's result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Workload = Literal["w1", "w2", "lonely", "w3"]

WORKLOADS: Final[tuple[Workload, ...]] = ("w1", "w2", "lonely", "w3")

UNITS: Final[dict[Workload, str]] = {"w1": "steps/s", "w2": "steps/s", "lonely": "ms", "w3": "ms"}
"""The unit of each workload's figure: a rate is better the higher it is, a duration the lower."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine to compare with.

    ``environment`` names its requirement files and its folder in the cache, ``script`` the file below ``workloads``
    that its own interpreter runs, ``variant`` what that script is told, ``durability`` what a finished step survives.
    """

    name: str
    environment: str
    script: str
    variant: str
    durability: str


PEERS: Final[tuple[Peer, ...]] = (
    Peer("restate", "restate", "with_restate.py", "", "server fsyncs its log"),
    Peer("langgraph", "langgraph", "with_langgraph.py", "", "SQLite WAL FULL, fsync a put (sync)"),
    Peer("dbos-sqlite", "dbos", "with_dbos.py", "sqlite", "SQLite FULL, fsync a commit"),
    Peer("dbos-postgres", "dbos", "with_dbos.py", "postgres", "PostgreSQL, fsync a commit"),
    Peer("ray-workflows", "ray-workflows", "with_ray_workflows.py", "", "files, no fsync"),
    Peer("temporal", "temporal", "with_temporal.py", "", "dev server's SQLite file; production stores are others"),
)


@dataclass(frozen=True, slots=True)
class Ours:
    """One way of running our own benchmark; ``arguments`` are those after ``python -m benchmarks``, per workload."""

    name: str
    arguments: dict[Workload, tuple[str, ...]]


def ours(seconds: float) -> tuple[Ours, ...]:
    """Return our own rows: the sequential load with 1,000 runs in flight and with 64, everything else once."""
    window = ("--rounds", "1", "--seconds", str(seconds), "--json")
    return (
        Ours(
            "kos, 1,000 in flight",
            {
                "w1": ("w1", "--in-flight", "1000", *window),
                "w2": ("w2", "--rounds", "5", "--json"),
                "lonely": ("lonely", "--runs", "200", "--json"),
                "w3": ("w3", "--json"),
            },
        ),
        Ours("kos, 64 in flight", {"w1": ("w1", "--in-flight", "64", *window)}),
    )
