from pathlib import Path

import pytest

from tests.agents.almanac import ALMANAC_TOPICS, RAY_TOPICS, lay_out
from tests.agents.desk import Desk


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def almanac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="session")
def folder_desk(almanac: Path, cache: str) -> Desk:
    return Desk(str(almanac), cache)


@pytest.fixture(scope="session")
def ray_desk(cache: str) -> Desk:
    return Desk("python:ray", cache)


@pytest.fixture(scope="session")
def foreign_desk(cache: str) -> Desk:
    """A corpus that is about none of the topics of the other two."""
    return Desk("python:hypothesis", cache)


@pytest.fixture(scope="session")
def desks(folder_desk: Desk, ray_desk: Desk) -> dict[str, tuple[Desk, tuple[str, ...]]]:
    return {"folder": (folder_desk, ALMANAC_TOPICS), "python:ray": (ray_desk, RAY_TOPICS)}


@pytest.fixture(params=["folder", "python:ray"])
def corpus(
    request: pytest.FixtureRequest, desks: dict[str, tuple[Desk, tuple[str, ...]]]
) -> tuple[Desk, tuple[str, ...]]:
    return desks[request.param]
