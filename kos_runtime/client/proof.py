"""Proof of a store's log: chains, remembered heads, and that folding gives what is shown."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Final

from kos_runtime.adapters.event_store.evidence import SqliteEvidence
from kos_runtime.client.gone import archive_problem
from kos_runtime.client.read_models import ReadModels
from kos_runtime.client.reading import Reading
from kos_runtime.client.rows import Rows
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.evidence import RememberedHead, Verdict
from kos_runtime.core.identity import run_stream
from kos_runtime.core.peer.records import prefix_of
from kos_runtime.core.verify import verify_partition
from kos_runtime.core.verify_stream import verify_stream

#: So much of what differs is told.
MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Proof:
    """What was checked and what was found; ``problem`` is empty when all is well."""

    what: str
    records: int
    head: str
    problem: str
    #: Runs whose payloads were purged or archived.
    gone: tuple[str, ...] = ()
    #: Everything that was found beside ``problem``, up to a bound.
    more: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problem

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "ok": self.ok,
            "records": self.records,
            "head": self.head,
            "problem": self.problem,
            "gone": list(self.gone),
            "more": list(self.more),
        }

    def text(self) -> str:
        if self.ok:
            gone = f"; payloads purged or archived: {', '.join(self.gone[:8])}" if self.gone else ""
            more = f" and {len(self.gone) - 8} more" if len(self.gone) > 8 else ""
            return f"✔ {self.what}: {self.records} records, no gaps, hash chains intact{gone}{more}; head {self.head}"
        return "\n".join(f"✘ {problem}" for problem in (self.problem, *self.more))


def verify_all(reading: Reading, head: str = "") -> Proof:
    """Check the whole log, and that everything that is read beside it says what it says."""
    verdict = verify_partition(SqliteEvidence(reading.log), head=_head(head))
    unlike = chain(Rows(reading).all_unlike(), ReadModels(reading).unlike()) if verdict.ok else ()
    return _proof("the log", verdict, unlike)


def verify_run(reading: Reading, run: str, head: str = "") -> Proof:
    """Check one run by its own chain, and that what is read of it beside that says what its events say."""
    evidence = SqliteEvidence(reading.log)
    verdict = verify_stream(evidence, run_stream(run), head=_head(head))
    found = _proof(f"run {run}", verdict, _unlike(reading, run) if verdict.ok else ())
    for stream in reading.log.streams(prefix_of(run)) if found.ok else ():
        # Peers of its votes have streams of their own.
        of_peer = verify_stream(evidence, stream)
        if not of_peer.ok:
            return _proof(f"run {run}", of_peer, ())
        found = replace(found, records=found.records + of_peer.records)
    return found


def _unlike(reading: Reading, run: str) -> Iterator[str]:
    row = reading.log.run(run)
    if row is None:
        yield f"run {run} has events, and no row that lists it"
    elif problem := Rows(reading).unlike(row) or archive_problem(reading, run):
        yield problem
    yield from ReadModels(reading).unlike_of(run)


def _proof(what: str, verdict: Verdict, unlike: Iterable[str]) -> Proof:
    gone = tuple(stream.removeprefix("run/") for stream in verdict.gone)
    bad = [] if verdict.first_bad is None else [str(verdict.first_bad)]
    problem, *more = [*bad, *islice(unlike, MOST)] or [""]
    return Proof(what, verdict.records, verdict.head, problem, gone, tuple(more))


def _head(text: str) -> RememberedHead | None:
    if not text:
        return None
    try:
        return RememberedHead.parse(text)
    except ValueError as error:
        raise InvalidDefinition(f"--head: {error}") from error
