"""Finds the owner of a store, starts one where none is up, or does one command without."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kos_runtime.adapters.control_socket import ControlClient
from kos_runtime.adapters.ownership import owner_of
from kos_runtime.composition.commands import BadRequest, command_of, message_of, refusal
from kos_runtime.core.errors import StoreError, Unreachable
from kos_runtime.core.workflow.commands import Command
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.ports.control import Message

#: How long an owner may take until it answers: Ray's start on a busy small machine takes most of a minute.
START_TIMEOUT_S = 180.0
LOCK = "owner.lock"


#: Owners that this process started: they outlive it, and those that ended are collected when another is started.
_started: list["subprocess.Popen[bytes]"] = []


def is_owned(folder: Path) -> bool:
    """Say whether an owner process holds the store."""
    return owner_of(folder / LOCK) is not None


def reach_owner(folder: Path, timeout: float = 5.0) -> ControlClient | None:
    """Return a channel to the store's owner, or None when there is none."""
    if not is_owned(folder):
        return None
    client = ControlClient(folder)
    try:
        if client.request({"op": "ping"}, timeout).get("ok"):
            return client
    except Unreachable:
        client.close()
    return None


def start_owner(
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    keep: bool = False,
    say: Callable[[str], None] = lambda _: None,
    timeout: float = START_TIMEOUT_S,
) -> ControlClient:
    """Start the store's owner in a session of its own, and return a channel to it when it answers.

    Raises:
        Unreachable: It ended, or gave no answer in time; the end of its log is in the message.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = folder / "owner.log"
    command = [sys.executable, "-m", "kos_runtime", "_owner", "--store", str(folder.resolve())]
    if keep:
        command.append("--keep")
    environment = {**os.environ, "KOS_OWNER_SETTINGS": json.dumps(config or {}), "RAY_USAGE_STATS_ENABLED": "0"}
    begin = log_path.stat().st_size if log_path.exists() else 0
    _started[:] = [earlier for earlier in _started if earlier.poll() is None]
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    _started.append(process)
    deadline = time.monotonic() + timeout
    said = False
    while time.monotonic() < deadline:
        client = reach_owner(folder, timeout=2.0)
        if client is not None:
            return client
        if process.poll() is not None and not is_owned(folder):
            # Where somebody else was quicker, that one is the owner, and may take as long to start as ours would have.
            client = reach_owner(folder, timeout=5.0)
            if client is not None:
                return client
            raise Unreachable(f"the store's owner ended at once ({_tail(log_path, begin)})")
        if not said:
            say("starting local Ray (the first start takes 5 to 20 s)")
            said = True
        time.sleep(0.05)
    raise Unreachable(
        f"the store's owner gave no answer within {timeout:g} s; see {log_path}: {_tail(log_path, begin)}"
    )


def _tail(path: Path, begin: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(begin)
            lines = file.read()[-4_000:].decode(errors="replace").strip().splitlines()
    except OSError:
        return "its log cannot be read"
    return lines[-1] if lines else "it said nothing"


def once(folder: Path, settings: EngineSettings, message: Message) -> Message:
    """Carry out one command on a store that nobody owns, without starting anything of what it leads to."""
    try:
        command = command_of(message, settings)
    except BadRequest as error:
        return refusal("bad_request", str(error))
    return message_of(run_once(folder, settings, command, str(message.get("command_id") or "")))


def run_once(folder: Path, settings: EngineSettings, command: Command, command_id: str) -> Any:
    """Take the store's lock, let the partition carry out one command, and let go."""
    from kos_runtime.adapters.clock import LogClock
    from kos_runtime.composition import wiring
    from kos_runtime.core.workflow.commands import Rejected
    from kos_runtime.engine import messages as msg
    from kos_runtime.engine.host import Host

    try:
        store = wiring.open_store(str(folder))
    except StoreError as error:
        return Rejected(code="storage", message=str(error))
    try:
        host = Host(
            store,
            wiring.blob_store(str(folder)),
            wiring.INNER_CODEC,
            owner=wiring.owner_name(),
            limits=wiring.limits_of(settings),
        )
        clock = LogClock.at_claim(store.head().time)
        inputs: list[msg.Input] = [msg.Request(1, command_id, command)]
        for _ in range(100):
            for effect in host.cycle(inputs, clock.now()):
                if isinstance(effect, msg.Reply) and effect.token == 1:
                    return effect.answer
            inputs = []
        return Rejected(code="storage", message=host.stalled_by or "the engine gave no answer")
    except StoreError as error:
        return Rejected(code="storage", message=str(error))
    finally:
        store.close()


__all__ = ["is_owned", "once", "reach_owner", "refusal", "run_once", "start_owner"]
