"""Verification of a log: whether every record is what was committed, and which is the first that is not.

The log is walked once, in order, with the arithmetic of ``kos_runtime.core.chain``. A commit's own row is checked
first, by its link; from then on its epoch, its count and its root can be trusted as far as the head can. Then its
records, each by its own chain, and at last the root over their hashes. The root also decides how exactly the fault
can be named. If it holds, all hashes are in place, and a record that contradicts its hash was altered itself. If it
holds over the hashes as they ought to be, the hashes that differ were altered. If neither, records were exchanged for
others that may be good by themselves, and all that can be said is: in this commit.

A cut of the newest records leaves a shorter log that is good in itself. It shows against what is remembered beside
the log (``Mark``) and against a head that somebody wrote down (``RememberedHead``).
"""

from collections.abc import Callable, Iterator
from typing import Final, cast

from kos_runtime.core.chain import EMPTY, SALT_BYTES, batch_link, batch_root, payload_digest, record_hash
from kos_runtime.core.errors import StoreDamaged
from kos_runtime.core.evidence import Evidence, Finding, Mark, RawCommit, RawRecord, RememberedHead, Verdict

#: How far a stream was followed: position and hash of its last record, its salt, and where it was written.
Tip = tuple[int, bytes, bytes, str, int]
Origin = tuple[object, object]

#: A record that holds one of these says that the payloads of its stream were taken away, and by whom.
TAKEN_AWAY: Final = frozenset(("payloads_purged", "run_archived"))


_Checked = tuple[str, int, int, int, str, str, str, bytes, bytes, bytes]
#: What a record is made of. A match on classes would say the same, at ten times the cost of all the hashing.
_TYPES: Final = (int, str, int, int, int, str, str, str, bytes, bytes, bytes)


class Walk:
    """A verification under way: ``commit`` moves it on by one good commit, or finds a fault and stays where it is.

    Its memory grows with the number of streams, by about 250 bytes each.
    """

    __slots__ = (
        "epoch", "gone", "head_link", "head_offset", "origin", "partition", "rows", "salt", "store_id", "taken_away", "tips",
    )  # fmt: skip

    def __init__(
        self,
        store_id: str,
        partition: int,
        salt: Callable[[str], object],
        origin: Callable[[str], Origin | None] = lambda _: None,
    ) -> None:
        self.store_id, self.partition, self.salt, self.origin = store_id, partition, salt, origin
        #: Streams of which a payload is gone, with the first such record; and those that say so themselves.
        self.gone: dict[str, RawRecord] = {}
        self.taken_away: set[str] = set()
        self.head_offset, self.head_link, self.epoch = 0, EMPTY, 0
        self.tips: dict[str, Tip] = {}
        #: The records of the last good commit.
        self.rows: list[RawRecord] = []

    def copy(self) -> "Walk":
        """Return another walk that stands at the same place."""
        other = Walk(self.store_id, self.partition, self.salt, self.origin)
        other.gone, other.taken_away = self.gone.copy(), self.taken_away.copy()
        other.head_offset, other.head_link, other.epoch = self.head_offset, self.head_link, self.epoch
        other.tips, other.rows = self.tips.copy(), self.rows
        return other

    def commit(self, commit: RawCommit, records: Iterator[RawRecord]) -> Finding | None:
        """Check the next commit and take its records from the iterator."""
        start = self.head_offset + 1
        fault = commit_fault(commit, start, self.epoch, self.head_link)
        if fault is not None:
            return fault
        _, count, epoch, root, link = commit
        assert isinstance(count, int)
        assert isinstance(epoch, int)
        assert isinstance(link, bytes)
        fresh: dict[str, Tip] = {}
        rows: list[RawRecord] = []
        expected: list[bytes] = []
        first: Finding | None = None
        for offset in range(start, start + count):
            row = next(records, None)
            if row is None or row[0] != offset or len(row) != len(_TYPES):
                gap = _gap(row, offset)
                return first if first is not None and first.offset < gap.offset else gap
            what, its_hash = self._record(row, epoch, fresh)
            rows.append(row)
            expected.append(its_hash)
            if what is not None and first is None:
                first = about(row, offset, what)
        if first is not None or batch_root(expected) != root:
            return _most_exact(first, start, [row[10] for row in rows], expected, root)
        self.tips.update(fresh)
        self.head_offset, self.head_link, self.epoch, self.rows = start + count - 1, link, epoch, rows
        return None

    def _record(self, row: RawRecord, epoch: int, fresh: dict[str, Tip]) -> tuple[str | None, bytes]:
        """Check one record against its stream; return what is wrong with it, and the hash it ought to have."""
        stream = row[1]
        if not isinstance(stream, str):
            return "was altered: its stream is not text", as_bytes(row[10])
        tip = fresh.get(stream) or self.tips.get(stream)
        if tip is None:
            tip = first_tip(self.salt(stream), self.origin(stream), self.store_id, self.partition)
        what, expected = record_fault(row, tip, epoch)
        if what is None and is_gone(row, tip):
            self.gone.setdefault(stream, row)
            if takes_away(row):
                self.taken_away.add(stream)
        fresh[stream] = (tip[0] + 1, expected, *tip[2:])
        return what, expected


def verify_partition(evidence: Evidence, *, head: RememberedHead | None = None) -> Verdict:
    """Check a whole partition: every record, every commit, what is remembered beside them, and a head if one is given.

    Returns:
        The verdict; its first finding is the one at the smallest offset.
    """
    walk = Walk(evidence.store_id, evidence.partition, evidence.salt, evidence.origin)
    marks: dict[int, list[Mark]] = {}
    for mark in evidence.marks():
        marks.setdefault(mark.offset, []).append(mark)
    try:
        finding = _along(walk, evidence, marks, head)
    except StoreDamaged as damage:
        finding = Finding(walk.head_offset + 1, walk.head_offset + 1, "", 0, f"cannot be read: {damage.reason}")
    try:
        complaint = next(evidence.complaints(), None)
    except StoreDamaged as damage:
        complaint = Finding(walk.head_offset + 1, walk.head_offset + 1, "", 0, f"cannot be read: {damage.reason}")
    if complaint is not None and (finding is None or complaint.offset < finding.offset):
        finding = complaint
    gone = tuple(stream for stream in walk.gone if stream in walk.taken_away)
    return Verdict(walk.head_offset, walk.head_offset, walk.head_link, finding, gone)


def _along(walk: Walk, evidence: Evidence, marks: dict[int, list[Mark]], head: RememberedHead | None) -> Finding | None:
    records = evidence.records()
    for commit in evidence.commits():
        finding = walk.commit(commit, records) or _forgotten(walk.rows, walk.head_link, marks, head)
        if finding is not None:
            return finding
    after = walk.head_offset + 1
    surplus = next(records, None)
    if surplus is not None:
        return about(surplus, after, "belongs to no commit") if surplus[0] == after else _gap(surplus, after)
    for stream, row in walk.gone.items():
        if stream not in walk.taken_away:
            assert isinstance(row[0], int)
            return about(row, row[0], UNTOLD)
    return _cut(walk, marks, head)


def _forgotten(
    rows: list[RawRecord], link: bytes, marks: dict[int, list[Mark]], head: RememberedHead | None
) -> Finding | None:
    """Compare a good commit with what is remembered about it."""
    for row in rows:
        offset = row[0]
        assert isinstance(offset, int)
        for mark in marks.get(offset, ()):
            if not bears_out(row, mark):
                return about(row, offset, f"is not what {mark.said_by} remembers")
        if head is not None and head.offset == offset:
            its_hash = link if row is rows[-1] else row[10]
            if its_hash != head.hash:
                what = "does not bear out the head that was given: it, or something before it, was rewritten"
                return about(row, offset, what)
    return None


def bears_out(row: RawRecord, mark: Mark) -> bool:
    """Say whether a record is the one that a mark remembers."""
    return (not mark.stream or (row[1], row[2]) == (mark.stream, mark.position)) and mark.hash in (None, row[10])


def _cut(walk: Walk, marks: dict[int, list[Mark]], head: RememberedHead | None) -> Finding | None:
    """Look for signs that the log was longer than it is."""
    end, after = walk.head_offset, walk.head_offset + 1
    if head is not None and head.offset > end:
        return Finding(after, after, "", 0, f"is missing: the head that was given stands at offset {head.offset}")
    for offset in sorted(marks):
        for mark in marks[offset]:
            if offset > end:
                return Finding(after, after, "", 0, f"is missing: {mark.said_by} remembers offset {offset}")
            if offset < 1 and mark.stream not in walk.tips:
                return Finding(after, after, mark.stream, 0, f"is missing: {mark.said_by} has no record")
    return None


def commit_fault(commit: RawCommit, start: int, epoch: int, link: bytes) -> Finding | None:
    """Check a commit's own row against where it has to begin, and against epoch and link of the one before it."""
    match commit:
        case (int(first), int(count), int(its_epoch), bytes(root), bytes(its_link)):
            if first < start:
                return Finding(first, first, "", 0, "begins a commit that was not made, or that stands there twice")
            if first > start:
                return Finding(start, start, "", 0, f"lies in no commit: the next one begins at offset {first}")
            if batch_link(link, its_epoch, first, count, root) != its_link:
                what = "begins a commit that was altered: its link is not what its header, root and predecessor say"
                return Finding(start, start, "", 0, what)
            if count < 1 or its_epoch < epoch:
                return Finding(start, start, "", 0, "begins a commit that is empty, or of an older epoch than before")
            return None
        case _:
            return Finding(start, start, "", 0, "begins a commit that was altered: a value is of the wrong kind")


#: What is wrong with a payload that is gone although nothing says so.
UNTOLD: Final = "has lost its payload, and nothing in its stream says that it was purged or archived"


def first_tip(salt: object, origin: Origin | None, store: str, partition: int) -> Tip:
    """Return where a stream begins: in this store, or in the one from which it was brought here."""
    match origin:
        case (str(its_store), int(its_partition)):
            return 0, EMPTY, as_bytes(salt), its_store, its_partition
        case _:
            return 0, EMPTY, as_bytes(salt), store, partition


def is_gone(row: RawRecord, tip: Tip) -> bool:
    """Say whether a record's payload and the salt that guarded it were taken away together."""
    return not tip[2] and row[8] == b""


def takes_away(row: RawRecord) -> bool:
    """Say whether a record says that its stream's payloads were taken away. Its names are part of its hash."""
    return any(name.rpartition(".")[0] in TAKEN_AWAY for name in str(row[5]).split(" "))


def record_fault(row: RawRecord, tip: Tip, epoch: int) -> tuple[str | None, bytes]:
    """Check a record against the one before it in its stream, and against its commit's epoch.

    Returns:
        What is wrong, or None; and the hash that the record ought to have, as far as its other fields are good.
    """
    if tuple(map(type, row)) != _TYPES:
        return "was altered: a value is of the wrong kind", as_bytes(row[10])
    stream, position, its_epoch, time, names, causation, correlation, payload, digest, its_hash = cast(
        "_Checked", row[1:]
    )
    last, previous, salt, store, partition = tip

    actual = digest if is_gone(row, tip) else payload_digest(salt, payload)
    header = (store, partition, stream, position, names, time, causation, correlation)
    expected = record_hash(*header, digest, previous)
    if position != last + 1:
        return f"is out of place: it is seq {position} of {stream}, where {last} came before it", expected
    if actual != digest:
        if len(salt) != SALT_BYTES:
            return f"cannot be checked: the salt of {stream} is missing or was altered", expected
        if expected != its_hash and record_hash(*header, actual, previous) == its_hash:
            return "was altered: its digest is not what the record's hash says", its_hash
        return "was altered: its payload is not what the record's digest says", expected
    if expected != its_hash:
        return "was altered: its hash is not what its header and its predecessor say", expected
    if its_epoch != epoch:
        return f"was altered: it says epoch {its_epoch}, where its commit says {epoch}", expected
    return None, expected


def _gap(row: RawRecord | None, offset: int) -> Finding:
    """Say what is wrong when another record than the one at an offset comes next."""
    if row is None:
        return Finding(offset, offset, "", 0, "is missing: the log ends before it")
    found = row[0]
    if not isinstance(found, int) or found == offset:
        return Finding(offset, offset, "", 0, "was altered: a value is of the wrong kind")
    if found > offset:
        return Finding(offset, offset, "", 0, f"is missing: offset {found} comes next")
    return about(row, found, "was not committed there, or stands there twice")


def _most_exact(
    first: Finding | None, start: int, stored: list[object], expected: list[bytes], root: object
) -> Finding:
    """Name the first bad record of a commit, or the commit where its hashes do not tell which one it is."""
    if first is not None and root in (batch_root(map(as_bytes, stored)), batch_root(expected)):
        return first
    if len(stored) == 1:
        return first or Finding(start, start, "", 0, "is another record than the one that was committed there")
    what = "are not the records that were committed there together"
    if first is not None:
        what += f"; the first that contradicts itself is offset {first.offset}"
    return Finding(start, start + len(stored) - 1, "", 0, what)


def about(row: RawRecord, offset: int, what: str) -> Finding:
    """Make a finding about a record, as far as it tells what it is."""
    stream, position = row[1], row[2]
    return Finding(
        offset, offset, stream if isinstance(stream, str) else "", position if isinstance(position, int) else 0, what
    )


def as_bytes(value: object) -> bytes:
    """Return bytes as they are, and nothing for anything else."""
    return value if isinstance(value, bytes) else b""
