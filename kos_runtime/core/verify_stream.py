"""Verification of one stream by its own chain, and by the commits that its records lie in.

What it cannot see is the rest of the partition: that the commits before and between are whole is checked by
``kos_runtime.core.verify.verify_partition`` alone.
"""

from kos_runtime.core.chain import EMPTY, batch_root
from kos_runtime.core.errors import NotFound, StoreDamaged
from kos_runtime.core.evidence import Evidence, Finding, Mark, RawCommit, RawRecord, RememberedHead, Verdict
from kos_runtime.core.verify import (
    UNTOLD,
    Tip,
    about,
    as_bytes,
    bears_out,
    commit_fault,
    first_tip,
    is_gone,
    record_fault,
    takes_away,
)


def verify_stream(evidence: Evidence, stream: str, *, head: RememberedHead | None = None) -> Verdict:
    """Check one stream: its records by their chain, each commit that holds one of them, and what remembers it.

    A head, if one is given, is compared with the commit or record at its offset, whichever stream that belongs to.

    Raises:
        NotFound: Nothing is stored about such a stream.
    """
    count, end = 0, 0
    told = False
    try:
        marks: dict[int, list[Mark]] = {}
        for mark in evidence.stream_marks(stream):
            marks.setdefault(mark.offset, []).append(mark)
        tip = first_tip(evidence.salt(stream), evidence.origin(stream), evidence.store_id, evidence.partition)
        gone: RawRecord | None = None
        known: tuple[int, int, int] = (0, 0, 0)
        finding: Finding | None = None
        for row in evidence.stream_records(stream):
            finding, known, tip = _next_record(evidence, stream, row, end, known, tip)
            offset = row[0]
            if finding is None and is_gone(row, tip):
                gone, told = gone or row, told or takes_away(row)
            if finding is None and isinstance(offset, int):
                finding = _unlike(row, marks.pop(offset, []))
                count, end = count + 1, offset
            if finding is not None:
                break
        if finding is None and gone is not None and not told:
            assert isinstance(gone[0], int)
            finding = about(gone, gone[0], UNTOLD)
        if finding is None:
            finding = _unmatched(stream, marks, count, end) or _unborne(evidence, head)
        if not (count or finding or tip[2]):
            raise NotFound(f"no stream {stream}")
    except StoreDamaged as damage:
        finding = Finding(end + 1, end + 1, stream, count + 1, f"cannot be read: {damage.reason}")
    offset, link = _end_of(evidence)
    return Verdict(count, offset, link, finding, (stream,) if told else ())


def _next_record(
    evidence: Evidence, stream: str, row: RawRecord, end: int, known: tuple[int, int, int], tip: Tip
) -> tuple[Finding | None, tuple[int, int, int], Tip]:
    """Check a record and, unless it is the one last checked, its commit (first offset, last offset, epoch)."""
    offset = row[0]
    if not isinstance(offset, int) or offset <= end:
        return Finding(end + 1, end + 1, stream, tip[0] + 1, "was altered: offsets do not grow"), known, tip
    if row[1] != stream:
        return about(row, offset, f"was altered: it does not say that it belongs to {stream}"), known, tip
    commit_finding = None
    if offset > known[1]:
        commit_finding, known = _commit_of(evidence, offset)
    if commit_finding is not None and commit_finding.until == commit_finding.offset:
        return commit_finding, known, tip
    what, expected = record_fault(row, tip, known[2])
    finding = commit_finding if what is None else about(row, offset, what)
    return finding, known, (tip[0] + 1, expected, *tip[2:])


def _commit_of(evidence: Evidence, offset: int) -> tuple[Finding | None, tuple[int, int, int]]:
    """Check the commit in which an offset lies: against the one before it, and by its records' hashes."""
    commit, before = evidence.commit_around(offset)
    start, epoch, link = _after(before)
    if commit is None:
        return Finding(offset, offset, "", 0, "lies in no commit"), (0, 0, 0)
    fault = commit_fault(commit, start, epoch, link)
    if fault is not None:
        return fault, (0, 0, 0)
    first, count, its_epoch, root, _ = commit
    assert isinstance(first, int)
    assert isinstance(count, int)
    assert isinstance(its_epoch, int)
    last = first + count - 1
    if offset > last:
        return Finding(offset, offset, "", 0, "lies in no commit"), (0, 0, 0)
    rows = list(evidence.hashes(first, last))
    whole = [one for one, _ in rows] == list(range(first, last + 1))
    if whole and batch_root(as_bytes(its_hash) for _, its_hash in rows) == root:
        return None, (first, last, its_epoch)
    what = "are not the records that were committed there together"
    if count == 1:
        what = "is not the record that was committed there"
    return Finding(first, last, "", 0, what), (first, last, its_epoch)


def _after(commit: RawCommit | None) -> tuple[int, int, bytes]:
    """Return the offset after a commit, its epoch and its link."""
    match commit:
        case (int(first), int(count), int(epoch), _, bytes(link)):
            return first + count, epoch, link
        case _:
            return 1, 0, EMPTY


def _unlike(row: RawRecord, marks: list[Mark]) -> Finding | None:
    for mark in marks:
        if not bears_out(row, mark):
            assert isinstance(row[0], int)
            return about(row, row[0], f"is not what {mark.said_by} remembers")
    return None


def _unmatched(stream: str, marks: dict[int, list[Mark]], count: int, end: int) -> Finding | None:
    """Look at what is remembered of records that were not met."""
    for offset in sorted(marks):
        mark = marks[offset][0]
        what = f"is missing: {mark.said_by} remembers it, the stream ends with seq {count} at offset {end}"
        return Finding(offset, offset, stream, mark.position, what)
    return None


def _unborne(evidence: Evidence, head: RememberedHead | None) -> Finding | None:
    """Compare a head that was given with what stands at its offset."""
    if head is None or head.offset == 0:
        return None
    commit, _ = evidence.commit_around(head.offset)
    after, _, link = _after(commit)
    if commit is None or head.offset >= after:
        what = f"is missing: the head that was given stands at offset {head.offset}"
        return Finding(after, after, "", 0, what)
    here = [link] if head.offset == after - 1 else [one for _, one in evidence.hashes(head.offset, head.offset)]
    if here == [head.hash]:
        return None
    what = "does not bear out the head that was given: it, or something before it, was rewritten"
    return Finding(head.offset, head.offset, "", 0, what)


def _end_of(evidence: Evidence) -> tuple[int, bytes]:
    after, _, link = _after(evidence.last_commit())
    return after - 1, link
