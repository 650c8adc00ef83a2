"""The hosts that each row runs on, and how many of the rows' cases run on Ray.

Each case runs in virtual time or in one process, always. On Ray, where a crash costs some ten seconds, a fifth of them
runs, drawn by the commit, so that pushes walk through all; ``KOS_CONFORMANCE=all`` runs every one.
"""

import os
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conformance.engines import Engine
from tests.conformance.hosts import Host, Real, Virtual
from tests.sharing import note

HERE = Path(__file__).parent
#: One in so many cases runs on Ray.
SHARE = 5
ON_RAY = pytest.param("ray", marks=[pytest.mark.cluster, pytest.mark.slow])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    on_ray = [item for item in items if HERE in item.path.parents and item.get_closest_marker("cluster") is not None]
    named = any("::" in argument for argument in config.args)
    if not on_ray or named or os.environ.get("KOS_CONFORMANCE") == "all":
        return
    commit = _commit()
    left = {item for item in on_ray if sha256(f"{commit} {item.nodeid}".encode()).digest()[0] % SHARE}
    config.hook.pytest_deselected(items=[item for item in on_ray if item in left])
    items[:] = [item for item in items if item not in left]
    note(
        config,
        f"conformance on Ray: {len(on_ray) - len(left)} of {len(on_ray)} cases, drawn by the commit; "
        "all of them: KOS_CONFORMANCE=all pytest -m cluster tests/conformance",
    )


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return found.stdout.strip()


@pytest.fixture(scope="session")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """One owner with its Ray for all rows; it is started when the first of them needs it."""
    made = Real(tmp_path_factory.mktemp("conformance"), "ray")
    yield made
    made.close()


@pytest.fixture(params=["virtual", "process", ON_RAY])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A host: each row runs on every one."""
    if request.param == "ray":
        yield request.getfixturevalue("on_ray")
        return
    made: Host = Virtual(tmp_path) if request.param == "virtual" else Real(tmp_path, "process")
    yield made
    made.close()


@pytest.fixture(params=["process", ON_RAY])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A real engine: in this process, or the one on Ray of all rows."""
    if request.param == "ray":
        yield Engine(tmp_path, request.getfixturevalue("on_ray").engine)
        return
    made = Engine.in_process(tmp_path)
    yield made
    made.close()
