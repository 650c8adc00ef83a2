from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.engines import Engine
from tests.conformance.hosts import Host, Real, Virtual

ON_RAY = pytest.param("ray", marks=[pytest.mark.cluster, pytest.mark.slow])


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
