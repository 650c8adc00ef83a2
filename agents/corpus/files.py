"""Which files a corpus has, and the digest that tells one state of them from another."""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from agents.corpus.reading import SUFFIXES

#: A larger file is left out; bytes.
MAX_FILE_BYTES: Final = 8 * 2**20
#: More files, or more bytes in all, are left out, in the order of their names.
MAX_FILES: Final = 20_000
MAX_TOTAL_BYTES: Final = 256 * 2**20
#: So many directory entries are looked at.
_MAX_ENTRIES: Final = 500_000

_SKIPPED_FOLDERS: Final = frozenset(("node_modules", "__pycache__", "site-packages", "venv", "__MACOSX"))


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file: its name in the corpus, where it is, its size in bytes, and the digest of its content."""

    path: str
    where: str
    size: int
    digest: str


@dataclass(slots=True)
class Listing:
    """The files of a corpus in the order of their names, and how many were left out for which reason."""

    files: list[CorpusFile] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    docs_only: bool = False

    def leave(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def digest(self) -> str:
        """Return what identifies the corpus: the SHA-256 of all names and contents, in hexadecimal."""
        whole = hashlib.sha256()
        for file in self.files:
            whole.update(f"{file.path}\0{file.digest}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def note(self) -> str:
        """Return in words what was left out; empty when nothing was."""
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items()))

    def bounded(self) -> "Listing":
        """Return the listing in order and within the bounds, with what is beyond them left out and counted."""
        self.files.sort(key=lambda file: file.path)
        kept: list[CorpusFile] = []
        total = 0
        for file in self.files:
            if file.size > MAX_FILE_BYTES:
                self.leave(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
            elif len(kept) >= MAX_FILES:
                self.leave(f"beyond the first {MAX_FILES} files")
            elif total + file.size > MAX_TOTAL_BYTES:
                self.leave(f"beyond {MAX_TOTAL_BYTES // 2**20} MiB in all")
            else:
                kept.append(file)
                total += file.size
        self.files = kept
        return self


def list_folder(root: Path) -> Listing:
    """Return the files below a folder. Links are not followed, hidden names and other kinds of file are left out."""
    listing = Listing()
    entries = 0
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            entries += 1
            if entries > _MAX_ENTRIES:
                listing.leave(f"folder cut after {_MAX_ENTRIES} entries")
                return _hashed(listing)
            if not name.startswith("."):
                _consider(listing, root, Path(folder) / name)
    return _hashed(listing)


def list_file(path: Path) -> Listing:
    """Return a corpus of one file, whatever its name ends in."""
    listing = Listing()
    listing.files.append(CorpusFile(path.name, str(path), path.stat().st_size, ""))
    return _hashed(listing)


def _consider(listing: Listing, root: Path, where: Path) -> None:
    try:
        status = where.lstat()
    except OSError:
        listing.leave("unreadable")
        return
    if stat.S_ISLNK(status.st_mode):
        listing.leave("symbolic links")
    elif not stat.S_ISREG(status.st_mode):
        listing.leave("no regular files")
    elif where.suffix.lower() not in SUFFIXES:
        listing.leave("of other kinds")
    elif status.st_size == 0:
        listing.leave("empty")
    else:
        path = PurePosixPath(where.relative_to(root)).as_posix().encode("utf-8", "replace").decode("utf-8", "replace")
        listing.files.append(CorpusFile(path, str(where), status.st_size, ""))


def _hashed(listing: Listing) -> Listing:
    """Bound the listing first, so that no more is read than counts, then hash every file."""
    listing.bounded()
    listing.files = list(_with_digests(listing, listing.files))
    return listing


def _with_digests(listing: Listing, files: Iterable[CorpusFile]) -> Iterable[CorpusFile]:
    for file in files:
        try:
            with Path(file.where).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            listing.leave("unreadable")
            continue
        yield CorpusFile(file.path, file.where, file.size, digest)


hash_files = _hashed
