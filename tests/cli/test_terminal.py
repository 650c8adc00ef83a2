"""On a terminal: a live tree, and Ctrl-C that detaches. The run is at work in this process; ``kos`` is a process of its own."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.definition import EngineSettings

SLOW = """
workflow:
  id: slow
  steps:
    - {id: nap, agent: "tests.team:Team", action: sleep, inputs: {seconds: 600}}
    - {id: later, agent: "tests.team:Team", action: greet, depends_on: [nap], inputs: {name: x}}
"""
#: How long a process may take to say something on a busy machine. Seconds.
PATIENCE_S = 60.0
#: Makes the terminal the process's own, so that its Ctrl-C reaches it, and is ``kos`` then.
#: Ctrl-C is heard even where whoever began the tests does not hear it, as what a shell has in the background does not.
BEGIN = (
    "import fcntl, signal, termios; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " fcntl.ioctl(0, termios.TIOCSCTTY, 0); from kos_runtime.__main__ import main; main()"
)


class Terminal:
    """A process on a pseudo-terminal of 100 columns."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.side, theirs = pty.openpty()
        environment = {
            name: text for name, text in os.environ.items() if name not in {"CI", "GITHUB_ACTIONS", "NO_COLOR"}
        }
        environment |= {
            "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", "PYTHONPATH": str(Path(kos_runtime.__file__).parents[1]),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
            env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def read_until(self, words: str) -> None:
        while words not in self.seen:
            ready, _, _ = select.select([self.side], [], [], PATIENCE_S)
            assert ready, f"{words!r} did not come; it said: {self.seen}"
            try:
                chunk = os.read(self.side, 65_536)
            except OSError:
                chunk = b""
            assert chunk, f"{words!r} did not come; it ended with: {self.seen}"
            self.seen += chunk.decode(errors="replace")

    def press(self, key: bytes) -> None:
        os.write(self.side, key)

    def close(self) -> int:
        code = self.process.wait(PATIENCE_S)
        os.close(self.side)
        return code


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    (tmp_path / "slow.yaml").write_text(SLOW)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        yield tmp_path, kos.start(tmp_path / "slow.yaml").id


@pytest.mark.parametrize("command", ["watch", "events --follow", "wait"])
def test_ctrl_c_detaches_and_says_how_to_come_back(live: tuple[Path, str], command: str) -> None:
    folder, run = live
    terminal = Terminal([*command.split()[:1], run, *command.split()[1:], "-v"], folder)
    terminal.read_until({"watch": "○ later", "events --follow": "StepScheduled", "wait": "waiting for "}[command])
    terminal.press(b"\x03")
    terminal.read_until(f"Re-attach: kos watch {run}")
    assert terminal.close() == 130


def test_the_tree_is_drawn_with_what_runs_and_what_comes(live: tuple[Path, str]) -> None:
    folder, run = live
    terminal = Terminal(["watch", run], folder)
    terminal.read_until("○ later")
    assert f"slow  {run}  running" in terminal.seen
    assert "● nap" in terminal.seen
    terminal.press(b"\x03")
    assert terminal.close() == 130
