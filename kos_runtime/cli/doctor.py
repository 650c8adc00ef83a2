"""``kos doctor``: what is wrong with this machine, each line with its fix."""

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from kos_runtime.cli.common import Common, now_ms, span
from kos_runtime.cli.outcome import FAILED, OK

_LEAST_FREE = 512 * 1024 * 1024
#: Log time may run ahead of the clock by so much, in milliseconds, before the clock is at fault.
_MOST_AHEAD_MS = 5_000


def doctor(*, common: Common | None = None) -> int:
    """Look at Python, Ray, the store, its owner, the agents and the disk; each problem comes with its fix."""
    common = common or Common()
    rows = []
    for name, state, text, fix in _checks(common):
        rows.append({"check": name, "state": state, "found": text, "fix": fix})
    if not common.is_data:
        for row in rows:
            mark = {"ok": "✔", "note": "·", "bad": "✘"}[row["state"]]
            print(f"{mark} {row['check']:<12} {row['found']}" + (f"\n    fix: {row['fix']}" if row["fix"] else ""))
    else:
        common.emit(rows, {}, name="check")
    return FAILED if any(row["state"] == "bad" for row in rows) else OK


def _checks(common: Common) -> Iterator[tuple[str, str, str, str]]:
    python = platform.python_version()
    yield (
        "python",
        "ok" if sys.version_info >= (3, 11) else "bad",
        python,
        "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer",
    )
    yield from _packages()
    yield from _cluster(common)
    yield from _agents_package()
    yield from _store(common)
    yield from _settings(common)


def _packages() -> Iterator[tuple[str, str, str, str]]:
    for name in ("ray", "apsw", "pydantic", "msgpack", "structlog", "PyYAML"):
        try:
            yield name.lower(), "ok", metadata.version(name), ""
        except metadata.PackageNotFoundError:
            yield name.lower(), "bad", "not installed", f"pip install {name}"


def _cluster(common: Common) -> Iterator[tuple[str, str, str, str]]:
    """Which Ray a run would use, and whether a token for it is there."""
    from kos_runtime.core.errors import KosError

    address = common.address
    with contextlib.suppress(KosError):
        # Settings that cannot be read have a line of their own.
        address = address or common.settings().ray_address
    if not address or address == "local":
        named = os.environ.get("RAY_ADDRESS", "")
        if named:
            yield "cluster", "note", f"RAY_ADDRESS is {named}, and is not used", f"to use it: --address {named}"
        else:
            yield "cluster", "ok", "a local Ray, started by the store's owner", ""
        return
    token = os.environ.get("RAY_AUTH_TOKEN") or (Path.home() / ".ray" / "auth_token").is_file()
    ready = bool(token) or os.environ.get("RAY_AUTH_MODE") == "disabled"
    yield (
        "cluster",
        "ok" if ready else "note",
        f"Ray at {address}" + (", with a token" if token else ", without a token"),
        "" if ready else "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN",
    )


def _agents_package() -> Iterator[tuple[str, str, str, str]]:
    from importlib.util import find_spec

    from kos_runtime.composition.discovery import Registry

    spec = find_spec("agents")
    origin = None if spec is None else spec.origin
    ours = origin is not None and "kos_runtime.ports.agent" in Path(origin).read_text(
        encoding="utf-8", errors="replace"
    )
    if ours:
        yield "agents", "ok", f"{', '.join(Registry().names())}", ""
    else:
        fix = "the import name is also that of another package; use an environment of its own for kos-runtime"
        yield "agents", "bad", f"the package 'agents' at {origin} is not ours", fix


def _store(common: Common) -> Iterator[tuple[str, str, str, str]]:
    from kos_runtime.adapters.ownership import owner_of
    from kos_runtime.client.owner import reach_owner
    from kos_runtime.client.reading import Reading
    from kos_runtime.composition.location import FILE, find_store
    from kos_runtime.core.errors import KosError

    folder = find_store(common.store)
    at = next((p for p in (folder, *folder.resolve().parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(at).free
    enough = free >= _LEAST_FREE
    yield "disk", "ok" if enough else "bad", f"{free // 1_000_000} MB free at {at}", "" if enough else "free some space"
    if not (folder / FILE).exists():
        yield "store", "note", f"none yet at {folder}", "kos run FILE makes one"
        return
    try:
        reading = Reading(folder)
        head = reading.log.head()
        counts = ", ".join(f"{n} {status}" for status, n in sorted(reading.log.run_counts().items())) or "no runs"
        yield "store", "ok", f"{folder}: {head.offset} records, {counts}", ""
        ahead = head.time - now_ms()
        fits = ahead < _MOST_AHEAD_MS
        yield (
            "clock",
            "ok" if fits else "bad",
            "not behind the log" if fits else f"{span(ahead)} behind the newest record of the log",
            "" if fits else "set the clock of this machine",
        )
        reading.close()
    except KosError as error:
        yield "store", "bad", str(error), "see the message"
    owner = owner_of(folder / "owner.lock")
    if owner is None:
        yield "owner", "note", "none is up", "kos up, kos run or kos resume start one"
        return
    channel = reach_owner(folder)
    if channel is None:
        yield (
            "owner",
            "bad",
            f"{owner} holds the store but gives no answer",
            f"see {folder}/owner.log; kos down, or end it",
        )
    else:
        status = channel.request({"op": "status"})
        yield "owner", "ok", f"pid {owner.pid}, dashboard {status.get('dashboard') or 'off'}", ""


def _settings(common: Common) -> Iterator[tuple[str, str, str, str]]:
    from kos_runtime.core.errors import KosError

    try:
        settings = common.settings()
    except KosError as error:
        yield "settings", "bad", str(error).splitlines()[0], "mend the file or variable that it names"
        return
    said = ", ".join(f"{name} from {source}" for name, source in settings.sources.items()) or "all defaults"
    yield "settings", "ok", said, ""
