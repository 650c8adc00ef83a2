"""Proof of a store's log: chains, remembered heads, and that folding gives what is shown."""

from dataclasses import dataclass
from typing import Any

from kos_runtime.adapters.event_store.evidence import SqliteEvidence
from kos_runtime.client.reading import Reading
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

    @property
    def ok(self) -> bool:
        return not self.problem

    def as_dict(self) -> dict[str, Any]:
        return {"what": self.what, "ok": self.ok, "records": self.records, "head": self.head, "problem": self.problem}

    def text(self) -> str:
        if self.ok:
            return f"✔ {self.what}: {self.records} records, no gaps, hash chains intact; head {self.head}"
        return f"✘ {self.problem}"


def verify_all(reading: Reading, head: str = "") -> Proof:
    """Check the whole log."""
    verdict = verify_partition(SqliteEvidence(reading.log), head=_head(head))
    return _proof("the log", verdict)


def verify_run(reading: Reading, run: str, head: str = "") -> Proof:
    """Check one run by its own chain, and that folding its events gives the status that its row says."""
    verdict = verify_stream(SqliteEvidence(reading.log), run_stream(run), head=_head(head))
    if verdict.ok:
        row = reading.log.run(run)
        view = reading.view(run)
        ended = {"completed", "failed", "cancelled", "quarantined"}
        if row is not None and (row.status in ended or view.status in ended) and row.status != view.status:
            problem = f"run {run}: its events say {view.status}, its row says {row.status}"
            return Proof(f"run {run}", verdict.records, verdict.head, problem)
    return _proof(f"run {run}", verdict)


def _proof(what: str, verdict: Verdict) -> Proof:
    return Proof(what, verdict.records, verdict.head, "" if verdict.first_bad is None else str(verdict.first_bad))


def _head(text: str) -> RememberedHead | None:
    if not text:
        return None
    try:
        return RememberedHead.parse(text)
    except ValueError as error:
        raise InvalidDefinition(f"--head: {error}") from error
