"""What a verification looks at, and what it says: raw rows in, a verdict out.

A store hands over its rows as they stand, without building records of them, because a row that was tampered with may
hold anything: NULL where a number belongs, text where bytes belong. A row is therefore a tuple of plain values whose
types nobody has vouched for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

#: offset, stream, position, epoch, time, names, causation, correlation, payload, digest, hash; as stored.
RawRecord = tuple[object, ...]
#: first offset, count, epoch, root, link; as stored.
RawCommit = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something beside the log that remembers a record: a run's row, a snapshot, an answered command.

    ``said_by`` names it for people. ``offset`` is 0 when only the stream is remembered, ``position`` is 0 and
    ``stream`` empty when only the offset is. ``hash`` is the record's hash, where the mark keeps one.
    """

    said_by: str
    stream: str
    position: int
    offset: int
    hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing that is wrong, at an offset.

    ``until`` is the same offset, unless all that is known is that something between the two (inclusive) is not what
    was committed there. ``position`` is 0 and ``stream`` empty when no record tells them. ``what`` is a predicate.
    """

    offset: int
    until: int
    stream: str
    position: int
    what: str

    def __str__(self) -> str:
        if self.until > self.offset:
            return f"offsets {self.offset} to {self.until} {self.what}"
        seq = f" (seq {self.position})" if self.position else ""
        return f"offset {self.offset}{seq} {self.what}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    ``records`` were checked. ``head_offset`` and ``head_link`` are the last offset and the last commit's link that
    were found good: what a person writes down to notice a cut later.
    """

    records: int
    head_offset: int
    head_link: bytes
    first_bad: Finding | None
    #: Streams whose payloads are gone, as a record of theirs says.
    gone: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.first_bad is None

    @property
    def head(self) -> str:
        """The head as ``OFFSET:HASH``, in the form that ``RememberedHead.parse`` reads."""
        return f"{self.head_offset}:{self.head_link.hex()}"


@dataclass(frozen=True, slots=True)
class RememberedHead:
    """A head that was written down: an offset, and the hash that stood there.

    The hash is the link of the commit that ends at the offset; where the offset lies inside a commit, it is the hash
    of the record. Offset 0 with 32 zero bytes is the head of an empty log, and every log continues it.
    """

    offset: int
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> "RememberedHead":
        """Read ``OFFSET:HASH``, the hash as 64 hex digits.

        Raises:
            ValueError: The text is something else.
        """
        offset, separator, digits = text.strip().partition(":")
        if not (separator and offset.isascii() and offset.isdigit() and len(offset) <= 19 and len(digits) == 64):
            raise ValueError(f"not a head: {text[:100]!r}; write OFFSET:HASH as it was printed, with 64 hex digits")
        try:
            return cls(int(offset), bytes.fromhex(digits))
        except ValueError:
            raise ValueError(f"not a head: {digits!r} is not hex") from None


class Evidence(Protocol):
    """A partition's rows, all as of one moment, in the order in which the store holds them."""

    @property
    def store_id(self) -> str: ...

    @property
    def partition(self) -> int: ...

    def origin(self, stream: str) -> tuple[object, object] | None:
        """Return the store and the partition in which a stream was written, None when it was here."""
        ...

    def marks(self) -> Iterator[Mark]:
        """Yield what is remembered beside the log. Taken before the rest, so nothing in it is newer than the log."""
        ...

    def commits(self) -> Iterator[RawCommit]:
        """Yield all commits by first offset."""
        ...

    def records(self) -> Iterator[RawRecord]:
        """Yield all records by offset."""
        ...

    def salt(self, stream: str) -> object:
        """Return what is stored as a stream's salt, None when nothing is."""
        ...

    def complaints(self) -> Iterator[Finding]:
        """Yield where the store's own indexes and its rows disagree, by offset."""
        ...

    def stream_marks(self, stream: str) -> Iterator[Mark]:
        """Yield those of the marks that are about one stream."""
        ...

    def stream_records(self, stream: str) -> Iterator[RawRecord]:
        """Yield one stream's records by position."""
        ...

    def commit_around(self, offset: int) -> tuple[RawCommit | None, RawCommit | None]:
        """Return the commit that begins at an offset or last before it, and the one before that."""
        ...

    def hashes(self, first: int, last: int) -> Iterator[tuple[object, object]]:
        """Yield offset and hash of the records from one offset to another, both included."""
        ...

    def last_commit(self) -> RawCommit | None:
        """Return the commit with the greatest first offset."""
        ...
