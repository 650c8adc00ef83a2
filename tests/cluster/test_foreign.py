"""Clusters that are not ours, and what is no cluster: one clear line and an exit code, and no traceback."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kos_runtime.client.owner import is_owned
from tests.cluster.test_examples import ROOT, environment
from tests.cluster.world import World

EXIT_UNREACHABLE = 7

#: Says to the cluster at an address that it runs another Ray, or again which one it runs.
PRETEND = """
import sys
from ray._raylet import GcsClient
from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
client = GcsClient(address=sys.argv[1])
said = client.internal_kv_get(CLUSTER_METADATA_KEY, namespace=b"cluster")
assert said is not None and sys.argv[2].encode() in said, said
client.internal_kv_put(CLUSTER_METADATA_KEY, said.replace(sys.argv[2].encode(), sys.argv[3].encode()), True, namespace=b"cluster")
"""


def run_at(folder: Path, address: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a workflow by the command line at an address."""
    (folder / "flow.yaml").write_text(
        'workflow:\n  id: x\n  steps: [{id: a, agent: "tests.team:Team", action: greet, inputs: {name: x}}]\n'
    )
    return subprocess.run(
        [sys.executable, "-m", "kos_runtime", "run", "flow.yaml", "--address", address],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False, env={**environment(folder), **more},
    )  # fmt: skip


def is_said(done: subprocess.CompletedProcess[str], folder: Path, *words: str) -> None:
    """See that a command failed with these words in its one line of error, and left no owner behind."""
    assert done.returncode == EXIT_UNREACHABLE, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(("error", "✘", "kos"))] or [done.stderr]
    for word in words:
        assert word in line, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    log = folder / ".kos" / "owner.log"
    assert "Traceback" not in (log.read_text() if log.exists() else "")
    assert not is_owned(folder / ".kos")


@contextlib.contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Give the address of somebody who listens and answers everybody with the same bytes; None says nothing."""
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line = opened.enter_context(server.accept()[0])
                    if answer is not None:
                        line.recv(64)
                        line.sendall(answer)
                        line.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b"", None])
def test_what_listens_and_is_no_cluster_is_said(tmp_path: Path, answer: bytes | None) -> None:
    with listener(answer) as address:
        is_said(run_at(tmp_path, address), tmp_path, f"what listens at {address} is no Ray cluster")


def test_a_cluster_with_another_token_and_one_of_another_version_are_said(world: World, tmp_path: Path) -> None:
    world.gate.unlink(missing_ok=True)
    run = world.start("three")
    address = world.address()
    is_said(run_at(tmp_path, address), tmp_path, address, "token", "RAY_AUTH_TOKEN_PATH")

    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(world.folder / "ray.token")}
    import ray

    pretend(address, ray.__version__, "2.11.0", token)
    try:
        done = run_at(tmp_path, address, **token)
    finally:
        pretend(address, "2.11.0", ray.__version__, token)
    is_said(done, tmp_path, address, "runs Ray 2.11.0", f"this is Ray {ray.__version__}", "--address")
    world.open_gate()
    assert world.result(run) == {"first": 1, "last": 1}


def pretend(address: str, version: str, other: str, token: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRETEND, address, version, other],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **token, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
