"""Blobs as files: written once, whole or not at all, and nothing outside their folder."""

import errno
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters.blob_store import filesystem
from kos_runtime.adapters.blob_store.filesystem import FilesystemBlobStore
from kos_runtime.core.errors import StoreDamaged, StoreFull, StoreReadOnly
from kos_runtime.core.record import PAYLOAD_LIMIT


@pytest.fixture
def blobs(tmp_path: Path) -> FilesystemBlobStore:
    return FilesystemBlobStore(tmp_path / "blobs")


def file_of(blobs: FilesystemBlobStore, digest: str) -> Path:
    return blobs.folder / digest[:2] / digest[2:]


def files(blobs: FilesystemBlobStore) -> list[Path]:
    return [path for path in blobs.folder.rglob("*") if path.is_file()]


def test_what_was_put_is_there_under_the_hash_of_its_content(blobs: FilesystemBlobStore) -> None:
    ref = blobs.put(b"a value")
    assert (ref.digest, ref.size) == (sha256(b"a value").hexdigest(), 7)
    assert (blobs.get(ref.digest), blobs.has(ref.digest)) == (b"a value", True)
    assert stat.S_IMODE(file_of(blobs, ref.digest).stat().st_mode) == 0o600


def test_the_same_content_is_one_file_and_counts_as_born_again(blobs: FilesystemBlobStore) -> None:
    ref = blobs.put(b"twice")
    os.utime(file_of(blobs, ref.digest), (1, 1))
    assert blobs.put(b"twice") == ref
    assert len(files(blobs)) == 1
    assert file_of(blobs, ref.digest).stat().st_mtime > 1


def test_what_is_not_there_is_a_key_error(blobs: FilesystemBlobStore) -> None:
    with pytest.raises(KeyError):
        blobs.get("0" * 64)
    assert not blobs.has("0" * 64)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 63, "0" * 62 + "..", "0" * 63 + "/", "A" * 64])
def test_a_name_that_is_no_hash_leads_nowhere(blobs: FilesystemBlobStore, digest: str) -> None:
    with pytest.raises(KeyError):
        blobs.get(digest)


def test_the_bound_is_exact(blobs: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "PAYLOAD_LIMIT", 10)
    assert blobs.put(b"x" * 10).size == 10
    with pytest.raises(ValueError, match="11 bytes, at most 10"):
        blobs.put(b"x" * 11)
    assert PAYLOAD_LIMIT == 64 * 1024 * 1024


def test_altered_content_is_damage_and_a_cut_one_is_mended_by_the_next_put(blobs: FilesystemBlobStore) -> None:
    ref = blobs.put(b"as written")
    file_of(blobs, ref.digest).write_bytes(b"as Written")
    with pytest.raises(StoreDamaged):
        blobs.get(ref.digest)
    file_of(blobs, ref.digest).write_bytes(b"as")
    assert blobs.get(blobs.put(b"as written").digest) == b"as written"


def test_a_link_in_its_place_is_not_followed(blobs: FilesystemBlobStore, tmp_path: Path) -> None:
    ref = blobs.put(b"mine")
    (tmp_path / "other").write_bytes(b"mine")
    file_of(blobs, ref.digest).unlink()
    file_of(blobs, ref.digest).symlink_to(tmp_path / "other")
    with pytest.raises(StoreDamaged, match="symbolic links"):
        blobs.get(ref.digest)


@pytest.mark.parametrize(
    ("number", "raised"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EROFS, StoreReadOnly), (errno.EACCES, StoreReadOnly)],
)
@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_a_disk_that_takes_nothing_is_said_and_leaves_no_half(
    blobs: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch, number: int, raised: type[Exception], call: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    blobs.put(b"before")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(raised):
            blobs.put(b"a value")
    assert len(files(blobs)) == 1
    assert blobs.put(b"a value").size == 7


def test_a_disk_that_became_read_only_is_said_also_for_what_is_there(
    blobs: FilesystemBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    blobs.put(b"there")
    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(StoreReadOnly):
        blobs.put(b"there")
