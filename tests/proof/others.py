"""Whether the other tests would let a planted bug pass: ``python -m tests.proof.others [NAME|ROOM…]``.

Each bug is planted into a process of its own that runs the tests of its room, those aside that are an oracle themselves: the
proof, whole-engine runs, schedules, models. What came of it is kept in ``others.json``, from which the proof's
page has its column. It takes minutes a bug, so it is a command and no lane.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.proof.planting import PLANTED, ROOT

KEPT: Final = Path(__file__).with_name("others.json")
_ENGINE: Final = ("tests/engine", "tests/conformance")
#: The tests of each room, by folder or file.
TESTS: Final = {
    "engine": _ENGINE,
    "recovery": ("tests/adapters/agent_runner", *_ENGINE),
    "store": (
        "tests/adapters/test_journal_event_store.py", "tests/adapters/test_memory_event_store.py", "tests/adapters/test_sqlite_event_store.py",
        "tests/adapters/test_sqlite_failures.py", "tests/adapters/test_sqlite_io_errors.py", "tests/adapters/test_sqlite_kill.py",
        "tests/adapters/test_sqlite_reader.py", "tests/adapters/test_sqlite_wal.py",
    ),
    "coordination": (
        "tests/coordination/test_classes.py", "tests/coordination/test_conflicts.py", "tests/coordination/test_voting.py",
        "tests/engine/test_voting.py",
    ),
}  # fmt: skip
#: A bug's tests may take so long, in seconds.
PATIENCE_S: Final = 1_800
PASSED: Final = "let it pass"


def tried(name: str, room: str) -> str:
    """Run the other tests against a bug: ``PASSED``, or the first that fails because of it."""
    paths = [path for path in TESTS[room] if (ROOT / path).exists()]
    aside: list[str] = []
    while True:
        failed = _first_failure([*paths, *(f"--deselect={test}" for test in aside)], name)
        if failed is None:
            return PASSED
        if "::" not in failed or _first_failure([failed], "") is None:
            return failed
        # It fails here without the bug, too.
        aside.append(failed)


def _first_failure(arguments: list[str], name: str) -> str | None:
    """Run tests, with a bug planted if one is named; return the first that fails."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-m", "not cluster", "-p", "tests.proof.planting",
            "-p", "no:randomly", "-p", "no:cacheprovider", *arguments,
        ],
        cwd=ROOT, env={**os.environ, PLANTED: name, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return None
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0] if failed else f"ended with {done.returncode}: {(done.stderr or done.stdout)[-200:]}"


def kept() -> dict[str, str]:
    """Return what came of each bug when it was tried last."""
    return dict(json.loads(KEPT.read_text(encoding="utf-8"))) if KEPT.exists() else {}


def main(names: list[str]) -> int:
    from tests.proof.mutants import rooms

    all_: dict[str, Any] = rooms()
    found = kept()
    chosen = [name for name in all_ if not names or name in names or all_[name] in names]
    for name in chosen:
        found[name] = tried(name, all_[name])
        print(f"{all_[name]:<13} {name:<60} {found[name]}", flush=True)
        ordered = {each: found[each] for each in all_ if each in found}
        KEPT.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
