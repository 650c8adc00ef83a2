"""Each peer's own environment: a venv, and for Restate a folder of npm packages, made once and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.catalogue import Peer

REQUIREMENTS: Final = Path(__file__).parent / "requirements"

LONGEST_INSTALL_S: Final = 1200.0
"""A registry that has not answered by then is a failed install."""

STAMP: Final = "installed"
"""The file in an environment that says what it was made of; written last, so a broken one has none."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An environment that can be used, and its interpreter."""

    python: Path


@dataclass(frozen=True, slots=True)
class Unavailable:
    """An environment that could not be made, and why in one line."""

    reason: str


class _InstallFailed(Exception):
    """One command of an install did not work."""


def default_cache() -> Path:
    """Return where environments are kept unless told otherwise."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kos-benchmarks"


def prepare(peer: Peer, cache: Path) -> Ready | Unavailable:
    """Make the peer's environment, or find it made already from the same files by the same Python."""
    folder = cache / peer.environment
    wanted = _fingerprint(peer.environment)
    python = folder / "venv" / "bin" / "python"
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return _with_server(peer, Ready(python))
    log = cache / f"{peer.environment}.log"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        log.unlink(missing_ok=True)
        _make(peer.environment, folder, python, log)
    except (_InstallFailed, OSError) as problem:
        shutil.rmtree(folder, ignore_errors=True)
        return Unavailable(f"could not be installed: {problem}")
    stamp.write_text(wanted)
    return _with_server(peer, Ready(python))


def _make(name: str, folder: Path, python: Path, log: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder / "venv")], folder, log)
    requirements = REQUIREMENTS / f"{name}.txt"
    # Only wheels: an install that starts to compile would fail late, and for reasons nobody here can mend.
    install = ["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r", str(requirements)]
    _run([str(python), "-m", "pip", *install], folder, log)
    packages = REQUIREMENTS / f"{name}.npm.txt"
    if packages.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise _InstallFailed("there is no npm on this machine")
        node = folder / "node"
        node.mkdir()
        (node / "package.json").write_text('{"name": "kos-benchmarks", "private": true}\n')
        # No scripts of packages: one of them would only report the install to its vendor.
        quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        _run([npm, "install", *quietly, *packages.read_text().split()], node, log)


def _run(command: Sequence[str], cwd: Path, log: Path) -> None:
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command, cwd=cwd, stdout=output, stderr=output, timeout=LONGEST_INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired as late:
            raise _InstallFailed(f"{Path(command[0]).name} took longer than {LONGEST_INSTALL_S:.0f} s") from late
    if done.returncode != 0:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if "error" in line.lower()]
        raise _InstallFailed(
            f"{Path(command[0]).name} ended with {done.returncode}: {(said or ['see ' + str(log)])[-1]}"
        )


def _fingerprint(name: str) -> str:
    """Return a text that changes when the pinned versions or the Python do."""
    digest = hashlib.sha256()
    for place in sorted(REQUIREMENTS.glob(f"{name}.*")):
        digest.update(place.name.encode() + b"\0" + place.read_bytes())
    return f"{sys.version_info.major}.{sys.version_info.minor} {digest.hexdigest()}"


def _with_server(peer: Peer, ready: Ready) -> Ready | Unavailable:
    """A peer on PostgreSQL also needs that server, which comes with the system and not with an environment."""
    if peer.variant == "postgres" and not _postgres_is_there():
        return Unavailable("there is no PostgreSQL server on this machine (Debian: apt-get install postgresql-15)")
    return ready


def _postgres_is_there() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or shutil.which("postgres") is not None
