"""A Ray of our own for one store, on this machine and reachable from it alone.

Everything is told to Ray by environment before it is imported: it listens on loopback only, asks everybody for a token
that lies in a file of ours, reports nothing to anybody, and does not rebuild environments. Its processes are children
of this one and die with it.
"""

import os
import re
import secrets
import socket
import sys
from pathlib import Path
from typing import Any, Final

from kos_runtime.core.errors import Unreachable

#: On Linux this switch makes Ray use 127.0.0.1 for every listener; it is not documented for that, so a test looks.
_LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray makes its workers nice by 15: the partition would stand back behind everything else on the machine.
    "RAY_worker_niceness": "0",
}
#: Answers up to this many bytes come with the reply itself; larger ones take the way through the object store.
_DIRECT: Final = {"RAY_max_direct_call_object_size": str(8 << 20)}
#: How long to wait for a connection to a cluster's address, in seconds.
KNOCK_S: Final = 5.0
#: How long a head node may take for its first words, in seconds.
GREETING_S: Final = 10.0
#: What a client of gRPC says first, and what the first frame of the answer is (RFC 9113, sections 3.4 and 6.5).
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS: Final = 4
NAMESPACE: Final = "kos"
#: Ray's sockets lie below its folder, and the path of a socket has at most 107 bytes.
MAX_FOLDER: Final = 40
OBJECT_STORE_BYTES: Final = 80 << 20


def prepare_environment(token_file: Path | None, python_path: list[str]) -> None:
    """Set what Ray reads from the environment, here and in every process that it starts.

    Args:
        token_file: Where the token of our own cluster lies; made, for this user alone, if it is not there. None for a
            cluster of somebody else's: then what the user says of its token stays as it is.
        python_path: Folders from which agents are imported, before all others.
    """
    os.environ.update(_QUIET | _DIRECT)
    if token_file is not None:
        write_token(token_file)
        os.environ.update(_LOOPBACK)
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ.pop("RAY_ADDRESS", None)
    known = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    folders = list(dict.fromkeys([*python_path, *known]))
    if folders:
        os.environ["PYTHONPATH"] = os.pathsep.join(folders)


def write_token(path: Path) -> None:
    """Make the token's file, for this user alone, unless it is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))


def start_local(
    folder: Path, *, namespace: str = NAMESPACE, dashboard: bool, dashboard_port: int = 0, num_cpus: int = 0
) -> dict[str, Any]:
    """Start Ray in this process and its children. ``folder`` is short, ours and empty or not there.

    Returns:
        ``address`` of the cluster, ``dashboard`` (its URL, empty without one) and ``session`` (Ray's folder).

    Raises:
        Unreachable: Ray cannot be started; the message says why and what to do.
    """
    if len(str(folder).encode()) > MAX_FOLDER:
        raise Unreachable(f"{folder} is too long a path for Ray's sockets; set TMPDIR to a shorter one")
    import ray

    try:
        context = ray.init(
            address="local",
            namespace=namespace,
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port or None,
            _temp_dir=str(folder),
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=True,
            logging_level="warning",
            logging_config=ray.LoggingConfig(encoding="JSON", log_level="INFO"),
            num_cpus=num_cpus or None,
        )
    except Exception as error:
        raise Unreachable(explain(error, dashboard_port)) from error
    url = context.dashboard_url or ""
    return {
        "address": context.address_info["gcs_address"],
        "dashboard": f"http://{url}" if url and dashboard else "",
        "session": context.address_info["session_dir"],
    }


def attach(address: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Join a cluster that was named explicitly.

    Raises:
        Unreachable: It is not there, or it is not ours.
    """
    knock(address)
    if address.startswith(("127.", "localhost:")):
        # Otherwise Ray turns this into the machine's outer address, at which a cluster like ours does not listen.
        os.environ.update(_LOOPBACK)
    import ray

    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    try:
        context = ray.init(
            address=address,
            namespace=namespace,
            log_to_driver=False,
            runtime_env={"env_vars": environment} if environment["PYTHONPATH"] else None,
            logging_config=ray.LoggingConfig(encoding="JSON", log_level="INFO"),
        )
    except Exception as error:
        raise Unreachable(explain(error, 0, address)) from error
    url = context.dashboard_url or ""
    return {
        "address": address,
        "dashboard": f"http://{url}" if url else "",
        "session": context.address_info.get("session_dir", ""),
    }


def knock(address: str) -> None:
    """Raise ``Unreachable`` when nobody listens at ``host:port``, or nothing like Ray; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        with socket.create_connection((host, int(port)), timeout=KNOCK_S) as line:
            greets = os.environ.get("RAY_USE_TLS", "0") in {"1", "true"} or _greets(line)
    except OSError as error:
        raise Unreachable(
            f"nobody answers at {address} ({error.strerror or error}); is that Ray cluster up?"
        ) from error
    if not greets:
        raise Unreachable(
            f"what listens at {address} is no Ray cluster; a cluster's address is that of its head node, "
            "with port 6379 unless it was started with another"
        )


def _greets(line: socket.socket) -> bool:
    """Say whether the other side answers as a server of gRPC does."""
    line.settimeout(GREETING_S)
    answer = b""
    try:
        line.sendall(_PREFACE)
        while len(answer) < 4 and (more := line.recv(16)):
            answer += more
    except OSError:
        return False
    return len(answer) >= 4 and answer[3] == _SETTINGS


#: What Ray says when it meets a cluster of another version: the cluster's versions, then this process's.
_VERSIONS: Final = re.compile(r"Version mismatch.*?Ray: (\S+)\s+Python: (\S+).*?Ray: (\S+)\s+Python: (\S+)", re.DOTALL)


def shut_down() -> None:
    """End Ray's processes, if it was started here."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def explain(error: Exception, port: int, address: str = "") -> str:
    """Return what went wrong with Ray in one sentence, with what to do."""
    text = f"{type(error).__name__}: {error}"
    lower = text.lower()
    where = f"the Ray cluster at {address}" if address else "Ray"
    if found := _VERSIONS.search(text):
        ray, python, our_ray, our_python = found.groups()
        return (
            f"{where} runs Ray {ray} on Python {python}, this is Ray {our_ray} on Python {our_python}; "
            "both must be the same: install the cluster's versions here, or leave --address out"
        )
    if "auth" in lower or "token" in lower or "unauthenticated" in lower:
        return f"{where} does not accept our token: it is not ours; set RAY_AUTH_TOKEN_PATH to its token, or leave --address out"
    if "address already in use" in lower or ("port" in lower and "use" in lower):
        return f"port {port} is taken by another process; stop that, or set another port for the dashboard"
    if address and ("connect" in lower or "timed out" in lower or "could not find" in lower):
        return refused(address)
    return f"{where} cannot be started: {text.splitlines()[0][:300]}"


def refused(address: str) -> str:
    """Return what to say of a cluster that answers and does not let us in."""
    return (
        f"something answers at {address} and does not let us in: it has another token (name its file by "
        "RAY_AUTH_TOKEN_PATH), or it is no Ray cluster of this version"
    )
