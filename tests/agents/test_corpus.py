"""Which files a corpus has, how its state is told, and how its index comes to be."""

import hashlib
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from agents.corpus import files
from agents.corpus.building import ensure, file_for
from agents.corpus.files import Listing, list_folder
from agents.corpus.index import Index, open_index
from agents.corpus.package import list_package
from agents.corpus.place import DEFAULT, canonical, listing_of
from agents.executor import kExecutor
from agents.planner import kPlanner
from agents.reviewer import kReviewer
from agents.scholar import Scholar
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed
from tests.agents.desk import Desk, DeskContext

TEXT = "Otters sleep on their backs and hold each other by the paw so that none of them drifts away.\n"


def quiet(message: str) -> None:
    assert message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    root.mkdir()
    (root / "otters.txt").write_text(TEXT)
    return root


def paths(listing: Listing) -> list[str]:
    return [file.path for file in listing.files]


# --- folders


def test_a_folder_lists_what_can_be_read_and_counts_what_cannot(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b.MD").write_text("# B")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    (folder / "empty.txt").touch()
    (folder / ".hidden.txt").write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git" / "c.txt").write_text("x")
    (folder / "README").write_text("no ending at all")
    listing = list_folder(folder)
    assert paths(listing) == ["README", "otters.txt", "sub/b.MD"]
    assert listing.note() == "1 empty, 1 of other kinds"


def test_links_and_pipes_are_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("A secret that is nobody's business in this corpus.")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "linked").symlink_to(outside)
    (folder / "around").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    listing = list_folder(folder)
    assert paths(listing) == ["otters.txt"]
    assert "symbolic links" in listing.note()
    assert "no regular files" in listing.note()


def test_bounds_leave_out_and_say_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "huge.txt").write_bytes(b"word " * (2 * 2**20))
    for number in range(6):
        (folder / f"part{number}.txt").write_text(TEXT)
    assert list_folder(folder).note() == "1 larger than 8 MiB"
    monkeypatch.setattr(files, "MAX_FILES", 3)
    assert list_folder(folder).note() == "4 beyond the first 3 files, 1 larger than 8 MiB"
    monkeypatch.setattr(files, "MAX_FILES", 1_000)
    monkeypatch.setattr(files, "MAX_TOTAL_BYTES", 2 * len(TEXT))
    assert len(list_folder(folder).files) == 2


def test_a_file_that_may_not_be_read_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "locked.txt").write_text("nobody reads this")
    real = Path.open

    def guarded(self: Path, *arguments: object, **named: object) -> object:
        if self.name == "locked.txt":
            raise PermissionError(13, "permission denied")
        return real(self, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", guarded)
    listing = list_folder(folder)
    assert paths(listing) == ["otters.txt"]
    assert listing.note() == "1 unreadable"


def test_the_digest_follows_names_and_contents_and_nothing_else(folder: Path) -> None:
    first = list_folder(folder).digest()
    os.utime(folder / "otters.txt", (1, 1))
    (folder / "photo.jpg").write_bytes(b"ignored")
    assert list_folder(folder).digest() == first
    (folder / "otters.txt").rename(folder / "seals.txt")
    second = list_folder(folder).digest()
    (folder / "seals.txt").write_text(TEXT + " ")
    assert len({first, second, list_folder(folder).digest()}) == 3


def test_a_corpus_may_be_one_file_of_any_name(folder: Path) -> None:
    (folder / "notes.weird").write_text(TEXT)
    desk = Desk(str(folder / "notes.weird"), str(folder / "cache"))
    assert [source.id for source in desk.gather(desk.plan("otters", "shallow")).sources] == ["notes.weird:1"]


# --- settings


def test_all_three_share_the_settings_of_the_executor(folder: Path) -> None:
    for cls in (kPlanner, kExecutor, kReviewer):
        assert cls.shares_settings_of == "kExecutor"
        recorded = cls.link_settings({"corpus": str(folder)}, "")
        assert recorded == {
            "corpus": str(folder),
            "digest": list_folder(folder).digest(),
            "files": 1,
            "bytes": len(TEXT),
        }
        assert cls.link_settings(recorded, "") == recorded


def test_without_a_setting_it_is_the_documentation_of_ray() -> None:
    assert DEFAULT == "python:ray"
    recorded = Scholar.link_settings({}, "")
    assert recorded["corpus"] == "python:ray"
    assert recorded["files"] > 500
    assert len(recorded["digest"]) == 64


def test_a_path_is_recorded_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert Scholar.link_settings({"corpus": "library"}, "")["corpus"] == str(folder)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert canonical("~/library") == str(folder)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"corpus": "/nowhere/at/all"}, "does not exist"),
        ({"corpus": "python:raay"}, "did you mean python:ray?"),
        ({"corpus": "python:"}, "names no package"),
        ({"corpus": "python:../../etc"}, "names no package"),
        ({"corpus": "python:qqqqqqqqqqqq"}, "install it, or name a folder"),
        ({"corpus": "python:ray.nothing_here"}, "no documentation"),
        ({"corpus": "a\0b"}, "is no path"),
        ({"corpus": "  "}, "the corpus is empty"),
        ({"corpus": 7}, "must be a path or python:PACKAGE"),
        ({"corpsu": "x"}, "did you mean 'corpus'?"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_what_to_do(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=r"corpus|package|setting|documentation") as caught:
        kExecutor.link_settings(settings, "")
    assert says in str(caught.value)


def test_a_folder_without_text_is_refused_and_what_it_has_is_said(folder: Path) -> None:
    (folder / "otters.txt").unlink()
    with pytest.raises(ValueError, match="the folder is empty"):
        listing_of(str(folder))
    (folder / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="left out: 1 of other kinds"):
        listing_of(str(folder))


def test_a_folder_of_binaries_under_names_of_texts_fails_where_it_is_read(folder: Path) -> None:
    (folder / "otters.txt").write_bytes(b"\x00\x01\x02")
    desk = Desk(str(folder), str(folder.parent / "cache"))
    with pytest.raises(ActionFailed, match=r"holds no readable text \(1 files could not be read, such as otters.txt"):
        desk.plan("otters")


def test_what_cannot_be_read_beside_what_can_is_noted_in_the_index(folder: Path) -> None:
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 no more than this")
    (folder / "bad.txt").write_bytes(b"\x00" * 100)
    (folder / "ten.md").write_bytes(b"x" * (10 * 2**20))
    desk = Desk(str(folder), str(folder.parent / "cache"))
    index = desk.executor.index(desk.context)
    assert sorted(line.split(":")[0] for line in index.meta["unreadable"]) == ["bad.pdf", "bad.txt"]
    assert index.meta["left_out"] == "1 larger than 8 MiB"
    assert desk.plan("otters", "shallow").plan


# --- packages


def test_a_package_lists_its_public_modules_and_documents() -> None:
    listed = paths(list_package("ray"))
    assert "ray/actor.py" in listed
    assert "ray/_private/worker.py" in listed, "what the package offers of a private module is documentation"
    assert any(path.endswith(".dist-info/METADATA") for path in listed)
    assert not any("thirdparty_files" in path or "/tests/" in path or "LICENSE" in path for path in listed)


def test_a_package_by_record_is_told_apart_without_reading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert len(list_package("ray").digest()) == 64


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("asyncio", "asyncio/tasks.py"),
        ("argparse", "argparse.py"),
        ("import-linter", "importlinter/cli.py"),
        ("yaml", "yaml/nodes.py"),
        ("ray.serve", "ray/serve/config.py"),
        ("ray.actor", "ray/actor.py"),
        ("_pytest", "_pytest/fixtures.py"),
    ],
)
def test_a_package_may_be_named_as_it_is_imported_or_installed(name: str, has: str) -> None:
    listed = paths(list_package(name))
    assert has in listed
    if "." in name:
        assert all(path.startswith(name.replace(".", "/")) for path in listed)


def test_nothing_of_the_package_is_imported() -> None:
    import sys

    before = set(sys.modules)
    list_package("ray.serve")
    assert not {name for name in set(sys.modules) - before if name.startswith("ray.")}


def test_the_standard_library_is_researched_like_any_package(cache: str) -> None:
    desk = Desk("python:asyncio", cache)
    review = desk.review(desk.research("cancelling a task"), "cancelling a task")
    assert review.parts["traced"] == 1.0


# --- the index


def test_an_index_is_built_once_and_found_again(folder: Path, tmp_path: Path) -> None:
    digest = listing_of(str(folder)).digest()
    path = ensure(str(folder), digest, str(tmp_path), quiet)
    assert path == file_for(str(tmp_path), digest)
    written = path.stat().st_mtime_ns
    assert ensure(str(folder), digest, str(tmp_path), quiet) == path
    assert path.stat().st_mtime_ns == written
    assert [other.name for other in path.parent.iterdir() if other.suffix not in {".db", ".lock"}] == []


def test_two_texts_that_are_equal_are_one_passage(folder: Path, tmp_path: Path) -> None:
    (folder / "again.md").write_text(TEXT)
    index = open_index(str(folder), "", str(tmp_path), quiet)
    assert index.size == 1
    assert index.at("again.md", 1) is not None


def test_a_damaged_index_is_built_again(folder: Path, tmp_path: Path) -> None:
    digest = listing_of(str(folder)).digest()
    path = ensure(str(folder), digest, str(tmp_path), quiet)
    path.write_bytes(b"this is no database" * 100)
    assert open_index(str(folder), digest, str(tmp_path), quiet).size == 1


def test_a_failed_build_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    def broken(message: str) -> None:
        raise KeyError(message)

    digest = listing_of(str(folder)).digest()
    with pytest.raises(KeyError):
        ensure(str(folder), digest, str(tmp_path), broken)
    assert [path.suffix for path in (tmp_path / "corpus").iterdir()] in ([], [".lock"], [".lock", ".lock"])
    assert ensure(str(folder), digest, str(tmp_path), quiet).exists()


def test_a_corpus_that_is_gone_is_a_failure_of_a_dependency(folder: Path, tmp_path: Path) -> None:
    executor = kExecutor(kExecutor.link_settings({"corpus": str(folder)}, ""))
    (folder / "otters.txt").unlink()
    folder.rmdir()
    with pytest.raises(ActionFailed, match="does not exist") as caught:
        executor.index(DeskContext(str(tmp_path)))
    assert caught.value.kind is ErrorType.DEPENDENCY


def build(corpus: str, digest: str, cache_dir: str, results: "multiprocessing.Queue[str]") -> None:
    index = Index(ensure(corpus, digest, cache_dir, quiet))
    results.put(f"{index.size} {index.path.stat().st_ino}")


def test_processes_that_race_for_an_index_share_one(almanac: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    digest = listing_of(str(almanac)).digest()
    racers = [context.Process(target=build, args=(str(almanac), digest, str(tmp_path), results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    found = {results.get(timeout=60) for _ in racers}
    for racer in racers:
        racer.join(timeout=60)
    assert len(found) == 1


def test_an_agent_may_be_called_from_several_threads_at_once(almanac: Path, tmp_path: Path) -> None:
    desk = Desk(str(almanac), str(tmp_path))
    expected = desk.research("ocean tides")
    fresh = Desk(str(almanac), str(tmp_path / "other"))
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(fresh.research("ocean tides"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


def test_the_path_of_a_cache_may_hold_what_a_uri_may_not(folder: Path, tmp_path: Path) -> None:
    strange = tmp_path / "a b?c#d%20e"
    strange.mkdir()
    assert open_index(str(folder), "", str(strange), quiet).size == 1
