"""Tools as processes: with an end in time, output that is bounded, and nobody left behind.

A process that was started here is ended with all that it started when its time is over, when the action that waits for it is
cancelled, and also when the agent's own process is killed: then the pipe closes that it holds on to.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents import ActionFailed

#: Bytes that are read of what a tool says.
MAX_OUTPUT: Final = 8 << 20
#: Runs a module, and ends its process group when whoever started it is gone.
_WATCHED: Final = """
import os, runpy, sys, threading

def end(pipe=os.dup(0)):
    os.read(pipe, 1)
    os.killpg(0, 9)

threading.Thread(target=end, daemon=True).start()
del sys.argv[0]
sys.path.insert(0, os.getcwd())
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
_LOOK: Final = (
    "import importlib.util, json, sys; print(json.dumps([n for n in sys.argv[1:] if not importlib.util.find_spec(n)]))"
)


@dataclass(frozen=True)
class Ended:
    code: int
    out: bytes
    error: str


async def run_module(python: str, module: str, arguments: list[str], folder: Path, seconds: float) -> Ended:
    """Run ``python -m module`` in a folder.

    Raises:
        ActionFailed: It takes longer than so many seconds, says more than ``MAX_OUTPUT``, or cannot be started.
    """
    return await _run(module, [python or sys.executable, "-c", _WATCHED, module, *arguments], folder, seconds)


async def has_modules(python: str, modules: list[str], folder: Path) -> list[str]:
    """Return those of the modules that a Python does not have."""
    ended = await _run(python, [python or sys.executable, "-I", "-c", _LOOK, *modules], folder, 60.0)
    if ended.code:
        raise ActionFailed("dependency", f"{python} does not run: {ended.error[-300:]}", recoverable=False)
    missing: list[str] = json.loads(ended.out)
    return missing


async def _run(name: str, command: list[str], folder: Path, seconds: float) -> Ended:
    # What is reviewed is a stranger to what runs it: it gets no settings, and no secrets, of ours.
    hidden = ("KOS_", "RAY_", "PYTEST_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise ActionFailed(
            "dependency", f"{command[0]} cannot be started: {error.strerror}", recoverable=False
        ) from error
    assert process.stdout is not None
    assert process.stderr is not None

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    try:
        async with asyncio.timeout(seconds):
            out, said = await asyncio.gather(_read(process.stdout, end), _read(process.stderr, end))
            code = await process.wait()
    except TimeoutError:
        raise ActionFailed("timeout", f"{name} did not end within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            end()
            # What it had said already is read to its end: only then are its pipes closed.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.communicate(), 5.0)
    if max(len(out), len(said)) > MAX_OUTPUT:
        text = f"{name} says more than {MAX_OUTPUT >> 20} MiB: give it fewer files, -p files_per_share=2"
        raise ActionFailed("resource", text, recoverable=False)
    return Ended(code, out, said.decode(errors="replace"))


async def _read(stream: asyncio.StreamReader, end: Callable[[], None]) -> bytes:
    """Read to the end; who says too much is ended, and not listened to any more."""
    found = bytearray()
    while piece := await stream.read(1 << 16):
        if len(found) <= MAX_OUTPUT:
            found += piece
            if len(found) > MAX_OUTPUT:
                end()
    return bytes(found)
