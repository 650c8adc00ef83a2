"""The process that owns a store: it holds the lock, its Ray and the partition's actor, and answers on a socket.

It runs in a session of its own, so that nothing that happens to a terminal happens to it. It ends by itself some
seconds after its last run has ended or waits only for people, unless it was told to stay.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from kos_runtime.adapters.control_socket import ControlServer, socket_path
from kos_runtime.adapters.ownership import HeldByAnother, Ownership
from kos_runtime.adapters.telemetry import line_writer
from kos_runtime.composition import on_ray
from kos_runtime.composition.commands import OPERATIONS, BadRequest, command_of, message_of, refusal
from kos_runtime.composition.monitoring import Following, Monitor
from kos_runtime.composition.reaper import watch_over_session
from kos_runtime.core.errors import KosError
from kos_runtime.core.workflow.commands import Accepted, Answer, Command, CreateRun, Rejected
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.ports.control import Message

LOCK: Final = "owner.lock"
#: What a person or a program may read of the owner; not the lock itself.
ABOUT: Final = "owner.json"
#: The owner stays so long after its last run has ended, in seconds.
LINGER_S: Final = 10.0
#: How long a cluster may take to let us in, in seconds; Ray by itself tries for minutes and cannot be interrupted.
ATTACH_S: Final = 45.0
#: How long recovery may take, in seconds.
READY_S: Final = 120.0
#: How long the partition may finish what is at hand, in seconds.
STOP_S: Final = 10.0
#: Attempts that run when the owner is told to end have so long; what takes longer is given out again by the next owner.
GRACE_S: Final = 10.0
_WATCH_S: Final = 0.5
#: So many requests may come in one message.
MAX_TOGETHER: Final = 1_000
#: What a client calls by a shorter name than ``EngineSettings`` does.
_RENAMED: Final = {
    "address": "ray_address", "namespace": "ray_namespace", "dashboard": "ray_dashboard", "num_cpus": "ray_num_cpus",
}  # fmt: skip
EXIT_UNREACHABLE: Final = 7


def main(argv: Sequence[str]) -> int:
    """Own a store until told to stop or out of work; return the exit code.

    ``--store FOLDER``, and ``--keep`` to stay without work. ``KOS_OWNER_SETTINGS`` in the environment is a JSON object
    of fields of ``EngineSettings``, and ``address``, ``namespace``, ``dashboard`` and ``num_cpus`` of Ray. The last
    line on standard error says why it failed.
    """
    parser = argparse.ArgumentParser(prog="kos _owner")
    parser.add_argument("--store", required=True)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args(list(argv))
    folder = Path(given.store).resolve()
    try:
        settings = read_settings(json.loads(os.environ.get("KOS_OWNER_SETTINGS") or "{}"))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = Ownership.acquire(folder / LOCK, wait_ms=200)
    except HeldByAnother as error:
        print(f"{folder} is owned already by {error.owner}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except (KosError, OSError, ValueError, TypeError) as error:
        print(str(error), file=sys.stderr)
        return EXIT_UNREACHABLE
    watch_over_session()
    try:
        return Owner(folder, settings, keep=given.keep).run()
    finally:
        lock.release()


def read_settings(given: Mapping[str, Any]) -> EngineSettings:
    """Return the settings that a client handed over; what it left out is as it is by default."""
    fields = EngineSettings.__dataclass_fields__
    named = {_RENAMED.get(key, key): value for key, value in given.items() if value is not None}
    return EngineSettings(**{key: value for key, value in named.items() if key in fields})


class Owner:
    """See the module. ``folder`` is the store's, and its lock is held by whoever makes this."""

    def __init__(self, folder: Path, settings: EngineSettings, *, keep: bool) -> None:
        self.folder = folder
        self.settings = settings
        self.keep = keep
        self._log = line_writer("owner")
        self._stop = threading.Event()
        self._why = ""
        self._busy_at = time.monotonic()
        self._state: dict[str, Any] = {}
        self._ray: dict[str, Any] = {}
        self._supervisor: Any = None
        self._following: Following | None = None

    def run(self) -> int:
        """Do everything; return the exit code."""
        self._listen_to_signals()
        clean(self.folder / ABOUT)
        temporary = Path(tempfile.mkdtemp(prefix="kos-"))
        server: ControlServer | None = None
        try:
            self._begin(temporary)
            server = ControlServer(self.folder, self.answer)
            self._write_about(temporary)
            self._serve()
        except KosError as error:
            self._why = str(error)
        except TimeoutError as error:
            self._why = str(error)
        finally:
            if server is not None:
                server.close()
            self._end(temporary)
        if self._why:
            print(self._why, file=sys.stderr, flush=True)
            return EXIT_UNREACHABLE
        return 0

    def _begin(self, temporary: Path) -> None:
        # Ray reads its environment when it is imported, so nothing of it is imported before.
        from kos_runtime.actors import runtime

        address = self.settings.ray_address
        ours = not address or address == "local"
        runtime.prepare_environment(self.folder / "ray.token" if ours else None, [str(Path.cwd())])
        if ours:
            self._ray = runtime.start_local(
                temporary / "ray",
                namespace=self.settings.ray_namespace,
                dashboard=self.settings.ray_dashboard,
                num_cpus=self.settings.ray_num_cpus,
            )
        else:
            limit = threading.Timer(ATTACH_S, _give_up, [runtime.refused(address), temporary])
            limit.daemon = True
            limit.start()
            self._ray = runtime.attach(address, namespace=self.settings.ray_namespace)
            limit.cancel()
        # Ray takes these signals for itself when it starts.
        self._listen_to_signals()
        from kos_runtime.actors.supervisor import Supervisor

        setup = on_ray.setup_of(self.folder, self.settings, namespace=self.settings.ray_namespace)
        self._supervisor = Supervisor(setup, on_ray.make_codec(), self._log)
        self._state = self._supervisor.wait_ready(READY_S)
        if Monitor.is_asked_for(self.settings):
            self._following = Following(self.folder, self.settings, self._log)
        self._log("owner_ready", **self._ray, epoch=self._state["epoch"], pid=os.getpid())

    def _serve(self) -> None:
        self._busy_at = time.monotonic()
        while not self._stop.is_set():
            self._state = self._supervisor.watch(_WATCH_S)
            now = time.monotonic()
            if not self._state["idle"] or not self._state["ready"]:
                self._busy_at = now
            elif not self.keep and now - self._busy_at > LINGER_S:
                self._log("owner_idle", after_s=LINGER_S)
                return
            self._stop.wait(_WATCH_S)

    def _end(self, temporary: Path) -> None:
        with contextlib.suppress(Exception):
            if self._supervisor is not None:
                self._supervisor.stop(STOP_S, GRACE_S)
        if self._following is not None:
            self._following.close()
        if "kos_runtime.actors.runtime" in sys.modules:
            from kos_runtime.actors import runtime

            with contextlib.suppress(Exception):
                runtime.shut_down()
        shutil.rmtree(temporary, ignore_errors=True)
        (self.folder / ABOUT).unlink(missing_ok=True)

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stop.set()

    def _write_about(self, temporary: Path) -> None:
        about = {
            "pid": os.getpid(),
            "started_at_ms": time.time_ns() // 1_000_000,
            "socket": socket_path(self.folder),
            "dashboard": self._ray["dashboard"],
            "address": self._ray["address"],
            "temporary": str(temporary),
            "logs": str(Path(self._ray["session"]) / "logs"),
        }
        part = self.folder / (ABOUT + ".part")
        part.write_text(json.dumps(about, indent=1))
        part.replace(self.folder / ABOUT)

    # --- the socket

    def answer(self, message: Message) -> Message:
        """Answer one message. Called on the threads of clients."""
        try:
            return self._answer(message)
        except BadRequest as error:
            return refusal("bad_request", str(error))
        except Exception as error:
            # The client's thread must answer something, whatever went wrong here.
            self._log("answer_failed", op=str(message.get("op")), error=f"{type(error).__name__}: {error}")
            return refusal("unreachable", f"the owner could not answer: {type(error).__name__}: {error}")

    def _answer(self, message: Message) -> Message:
        match message.get("op"):
            case "ping":
                return {"ok": True, "pid": os.getpid(), "kind": "ray"}
            case op if op in OPERATIONS:
                self._busy_at = time.monotonic()
                command_id = str(message.get("command_id") or "")
                return message_of(self._carry_out(command_id, command_of(message, self.settings)))
            case "many":
                self._busy_at = time.monotonic()
                return {"ok": True, "answers": self._carry_out_many(message.get("requests"))}
            case "load":
                # Whatever was at work is at work again since recovery; a run at rest is loaded by what comes for it.
                self._busy_at = time.monotonic()
                return {"ok": True, "run": message.get("run", "")}
            case "agents":
                return {"ok": True, "agents": [*self._ourselves(), *map(_agent, self._supervisor.agents())]}
            case "status":
                return {
                    "ok": True,
                    "idle": bool(self._state.get("idle")),
                    "kept": self.keep,
                    "active": self._state.get("active", 0),
                    "dashboard": self._ray["dashboard"],
                    "epoch": self._state.get("epoch", 0),
                    "partition_pid": self._state.get("pid", 0),
                    "stalled": self._state.get("stalled", ""),
                    "notices": [list(notice) for notice in self._state.get("notices", ())],
                }
            case "keep":
                self.keep = bool(message.get("keep", True))
                return {"ok": True, "kept": self.keep}
            case "stop":
                self._stop.set()
                return {"ok": True}
            case other:
                return refusal("bad_request", f"no such request: {other!r}")

    def _carry_out_many(self, requests: Any) -> list[Message]:
        """Carry out requests that came together, in one round of the partition as far as it goes."""
        if not isinstance(requests, list) or len(requests) > MAX_TOGETHER or not all(type(r) is dict for r in requests):
            raise BadRequest(f"requests must be a list of at most {MAX_TOGETHER} objects")
        commands = [(str(request.get("command_id") or ""), command_of(request, self.settings)) for request in requests]
        answers = self._supervisor.ask(commands)
        for place, (command_id, command) in enumerate(commands):
            found = answers[place]
            if isinstance(found, Rejected) and found.code == "unknown":
                answers[place] = self._carry_out(command_id, command, asked=True)
        return [message_of(found) for found in answers]

    def _carry_out(self, command_id: str, command: Command, *, asked: bool = False) -> Answer:
        """Carry out a command, also when the partition dies while it is at it: then look what became of it.

        ``asked``: it was given to the partition already, and nobody knows what became of it.
        """
        answer: Answer = Rejected(code="unknown", message="nobody answered")
        for turn in range(3):
            if (turn or asked) and isinstance(command, CreateRun):
                command = replace(command, again=True)
            if turn or not asked:
                answer = self._supervisor.ask([(command_id, command)])[0]
            if not (isinstance(answer, Rejected) and answer.code == "unknown"):
                return answer
            self._log("command_unknown", command=type(command).__name__, run=command.run)
            with contextlib.suppress(KosError, TimeoutError):
                self._supervisor.wait_ready(30.0)
            if isinstance(command, CreateRun):
                row = self._row(command.run)
                if row is not None:
                    return Accepted(run=command.run, position=1, event="RunCreated", existing=False)
        return answer

    def _ourselves(self) -> list[dict[str, Any]]:
        """Return the owner and its partition as they stand beside the agents."""
        owner = {
            "agent": "kos/owner",
            "kind": "owner",
            "actor": "",
            "pid": os.getpid(),
            "node": "",
            "steps": [],
            "restarts": 0,
        }
        partition = {
            **owner,
            "agent": "kos/partition-0",
            "kind": "PartitionActor",
            "actor": self._supervisor.actor_id,
            "pid": self._state.get("pid", 0),
            "restarts": self._supervisor.restarts,
        }
        return [owner, partition]

    def _row(self, run: str) -> Any:
        from kos_runtime.adapters.event_store.reader import SqliteLogReader

        reader = SqliteLogReader.open(self.folder)
        try:
            return reader.run(run)
        finally:
            reader.close()


def _agent(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "agent": found["name"],
        "kind": found["kind"],
        "actor": found["actor_id"],
        "pid": found["pid"],
        "node": found["node"],
        "steps": [f"{run}:{path}" for run, path, _ in found["running"]],
        "restarts": found["restarts"],
    }


def _give_up(text: str, temporary: Path) -> None:
    shutil.rmtree(temporary, ignore_errors=True)
    print(text, file=sys.stderr, flush=True)
    os._exit(EXIT_UNREACHABLE)


def clean(about: Path) -> None:
    """Remove what an owner that was killed left behind: Ray's temporary folder, named in its file."""
    try:
        left = json.loads(about.read_text())["temporary"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    folder = Path(str(left))
    if folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith("kos-"):
        shutil.rmtree(folder, ignore_errors=True)
    about.unlink(missing_ok=True)


__all__ = ["Owner", "main", "read_settings"]
