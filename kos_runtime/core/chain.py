"""The arithmetic of the hash chains, over bytes.

Two chains run through a partition. Each *record* is hashed over its header, the digest of its payload and the hash
of the previous record of the same stream, so a run can be verified, exported and archived alone. Each *commit* is
hashed over the previous commit's link, its epoch, its place and a root over its records' hashes, so the partition's
head commits to everything before it. A payload enters by a salted digest: purging payload and salt together leaves
the chain whole and the content beyond guessing. Every input of variable length is preceded by its length or ends
before a byte that it cannot contain, so no two different inputs hash the same bytes.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

EMPTY: Final = bytes(32)
SALT_BYTES: Final = 16

_RECORD_DOMAIN: Final = b"\x00kos-record-1\x00"
_ROOT_DOMAIN: Final = b"\x01kos-root-1\x00"
_LINK_DOMAIN: Final = b"\x02kos-link-1\x00"


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    """Return SHA-256 over the stream's salt (16 bytes) and the payload."""
    return sha256(salt + payload).digest()


def record_hash(
    store: str,
    partition: int,
    stream: str,
    position: int,
    names: str,
    time: int,
    causation: str,
    correlation: str,
    digest: bytes,
    previous: bytes,
) -> bytes:
    """Return a record's hash, chained to the previous record of its stream (``EMPTY`` for the first).

    The offset and the epoch are left to the commit's link, so that a stream keeps its hashes in another store's file.
    """
    header = (
        f"{store}\x00{partition}\x00{len(stream)}:{stream}\x00{position}\x00{names}\x00{time}\x00"
        f"{len(causation)}:{causation}\x00{len(correlation)}:{correlation}\x00"
    )
    return sha256(_RECORD_DOMAIN + header.encode("utf-8", "surrogatepass") + digest + previous).digest()


def batch_root(hashes: Iterable[bytes]) -> bytes:
    """Return the root over the hashes of a commit's records, in order."""
    return sha256(_ROOT_DOMAIN + b"".join(hashes)).digest()


def batch_link(previous: bytes, epoch: int, first_offset: int, count: int, root: bytes) -> bytes:
    """Return a commit's link, chained to the previous commit of the partition (``EMPTY`` for the first)."""
    header = f"{epoch}\x00{first_offset}\x00{count}\x00".encode()
    return sha256(_LINK_DOMAIN + header + previous + root).digest()
