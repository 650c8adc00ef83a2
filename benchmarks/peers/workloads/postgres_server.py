"""A PostgreSQL server of its own for one measurement: fresh cluster, loopback, default durability (fsync on)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import time

import measuring


def find_programs() -> pathlib.Path:
    """Return the folder with ``initdb`` and ``postgres``: Debian keeps them off the PATH, the newest last."""
    kept = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda found: int(found.parts[-3]))
    if kept:
        return kept[-1].parent
    found = shutil.which("postgres")
    if found is None:
        raise SystemExit("no PostgreSQL server on this machine (Debian: apt-get install postgresql-15)")
    return pathlib.Path(found).resolve().parent


def owner() -> str | None:
    """Return the user the server must run as: it refuses root; anybody else runs it as themselves."""
    return "postgres" if os.geteuid() == 0 else None


def create(directory: pathlib.Path) -> pathlib.Path:
    """Make an empty cluster below ``directory`` and return its place."""
    data = directory / "postgres"
    data.mkdir()
    if owner() is not None:
        shutil.chown(data, owner(), owner())
    command = [find_programs() / "initdb", "-D", data, "-U", "bench", "--auth=trust", "--encoding=UTF8", "--no-locale"]
    made = subprocess.run(command, user=owner(), cwd="/", capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        raise SystemExit(f"initdb ended with {made.returncode}: {made.stderr.strip().splitlines()[-1:]}")
    return data


def start(data: pathlib.Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server on the loopback port and return once it answers queries."""
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={port}", "max_connections=200"]
    command = [find_programs() / "postgres", "-D", data, *(part for one in settings for part in ("-c", one))]
    with (data.parent / "postgres.log").open("ab") as log:
        server = subprocess.Popen(command, user=owner(), cwd="/", stdout=log, stderr=log)  # noqa: S603
    wait_until_ready(data, server)
    return server


def wait_until_ready(data: pathlib.Path, server: subprocess.Popen[bytes]) -> None:
    """Return once the server takes queries: it listens before, and refuses them while it recovers from a crash.

    The last line of ``postmaster.pid`` says so, which is what ``pg_ctl start --wait`` looks at.
    """
    closed = time.perf_counter() + measuring.PATIENCE_S
    while time.perf_counter() < closed:
        if server.poll() is not None:
            raise SystemExit(f"the PostgreSQL server ended with {server.returncode}; see {data.parent}/postgres.log")
        with contextlib.suppress(FileNotFoundError):
            lines = (data / "postmaster.pid").read_text().splitlines()
            # A file that a crash left behind names another process.
            if len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
                return
        time.sleep(0.005)
    raise SystemExit(f"the PostgreSQL server took no queries within {measuring.PATIENCE_S:.0f} s")


def url(port: int, database: str = "bench_dbos") -> str:
    return f"postgresql://bench@127.0.0.1:{port}/{database}?sslmode=disable"
