"""Proof of a store's log: chains, remembered heads, and that folding gives what is shown."""

from dataclasses import dataclass
from typing import Any

from kos_runtime.adapters.event_store.evidence import SqliteEvidence
from kos_runtime.client.gone import archive_problem
from kos_runtime.client.reading import Reading
from kos_runtime.client.rows import Rows
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.evidence import RememberedHead, Verdict
from kos_runtime.core.identity import run_stream
from kos_runtime.core.verify import verify_partition
from kos_runtime.core.verify_stream import verify_stream


@dataclass(frozen=True, slots=True)
class Proof:
    """What was checked and what was found; ``problem`` is empty when all is well."""

    what: str
    records: int
    head: str
    problem: str
    #: Runs whose payloads were purged or archived.
    gone: tuple[str, ...] = ()

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
        }

    def text(self) -> str:
        if self.ok:
            gone = f"; payloads purged or archived: {', '.join(self.gone[:8])}" if self.gone else ""
            more = f" and {len(self.gone) - 8} more" if len(self.gone) > 8 else ""
            return f"✔ {self.what}: {self.records} records, no gaps, hash chains intact{gone}{more}; head {self.head}"
        return f"✘ {self.problem}"


def verify_all(reading: Reading, head: str = "") -> Proof:
    """Check the whole log, and that the rows that list the runs say what it says."""
    verdict = verify_partition(SqliteEvidence(reading.log), head=_head(head))
    return _proof("the log", verdict, Rows(reading).first_unlike() if verdict.ok else "")


def verify_run(reading: Reading, run: str, head: str = "") -> Proof:
    """Check one run by its own chain, and that its row says what its events say."""
    verdict = verify_stream(SqliteEvidence(reading.log), run_stream(run), head=_head(head))
    row = reading.log.run(run)
    unlike = f"run {run} has events, and no row that lists it" if row is None else ""
    if verdict.ok and row is not None:
        unlike = Rows(reading).unlike(row) or archive_problem(reading, run)
    return _proof(f"run {run}", verdict, unlike)


def _proof(what: str, verdict: Verdict, row: str) -> Proof:
    gone = tuple(stream.removeprefix("run/") for stream in verdict.gone)
    problem = row if verdict.first_bad is None else str(verdict.first_bad)
    return Proof(what, verdict.records, verdict.head, problem, gone)


def _head(text: str) -> RememberedHead | None:
    if not text:
        return None
    try:
        return RememberedHead.parse(text)
    except ValueError as error:
        raise InvalidDefinition(f"--head: {error}") from error
