import os
import signal
from pathlib import Path

import pytest

from kos_runtime.adapters.ownership import HeldByAnother, Owner, Ownership, owner_of, process_named
from tests.adapters.people import start

HOLD = """
import sys
from pathlib import Path
from kos_runtime.adapters.ownership import Ownership
held = Ownership.acquire(Path(sys.argv[1]))
print("held")
sys.stdin.read()
"""


def test_a_lock_that_is_released_can_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Ownership.acquire(path)
    assert owner_of(path) == process_named(os.getpid())
    first.release()
    first.release()
    assert owner_of(path) is None
    Ownership.acquire(path, wait_ms=0).release()


def test_nobody_owns_what_is_not_there(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "lock") is None


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start(HOLD, path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HeldByAnother) as caught:
            Ownership.acquire(path, wait_ms=30)
        assert f"process {holder.pid}" in str(caught.value)
        assert caught.value.owner is not None
        assert caught.value.owner.pid == holder.pid
        owner = owner_of(path)
        assert owner is not None
        assert owner.pid == holder.pid
        holder.communicate()
    assert owner_of(path) is None


def test_a_holder_that_is_stopped_is_ended_by_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start(HOLD, path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGSTOP)
        mine = Ownership.acquire(path, takeover_after_ms=20)
        assert holder.wait(timeout=10) == -signal.SIGKILL
        owner = owner_of(path)
        assert owner is not None
        assert owner.pid == os.getpid()
        mine.release()


@pytest.mark.parametrize("change", ["started", "boot", "namespace"])
def test_a_process_that_only_has_the_holders_number_is_left_alone(tmp_path: Path, change: str) -> None:
    path = tmp_path / "lock"
    with start(HOLD, path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        text = path.read_text()
        owner = process_named(holder.pid)
        assert owner is not None
        old = {"started": str(owner.started), "boot": owner.boot, "namespace": owner.namespace}[change]
        path.write_text(text.replace(old, "1" if change == "started" else "another"))
        with pytest.raises(HeldByAnother, match="another process"):
            Ownership.acquire(path, takeover_after_ms=10)
        assert holder.poll() is None
        holder.communicate()


def test_a_process_never_ends_itself(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = Ownership.acquire(path)
    with pytest.raises(HeldByAnother, match="which is this one"):
        Ownership.acquire(path, takeover_after_ms=10)
    held.release()


def test_a_holder_without_a_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = Ownership.acquire(path)
    path.write_text("half a na")
    with pytest.raises(HeldByAnother, match="gave no name"):
        Ownership.acquire(path, takeover_after_ms=10)
    assert owner_of(path) == Owner(0, 0, "", "", -1, "")
    held.release()


def test_a_lock_that_is_released_is_free_though_a_child_was_forked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = Ownership.acquire(path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        held.release()
        Ownership.acquire(path, wait_ms=0).release()
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)


FORK = """
import os, sys
from pathlib import Path
from kos_runtime.adapters.ownership import Ownership
held = Ownership.acquire(Path(sys.argv[1]))
if os.fork() == 0:
    print(os.getpid())
    sys.stdin.read()
    os._exit(0)
os.wait()
"""


def test_a_child_does_not_keep_the_lock_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start(FORK, path) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(timeout=10)
        assert process_named(child) is not None
        Ownership.acquire(path, wait_ms=0).release()


def test_a_lock_file_is_for_this_user_alone_and_no_link_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    Ownership.acquire(path).release()
    assert path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(Exception, match="cannot be written"):
        Ownership.acquire(link)


def test_the_error_survives_pickling() -> None:
    import copy

    error = HeldByAnother("events.db.owner", Owner(7, 1, "boot", "pid:[1]", 0, "kos run"), "stop it")
    again = copy.copy(error)
    assert str(again) == str(error) == "storage_busy: events.db.owner is owned by process 7 (kos run); stop it"
