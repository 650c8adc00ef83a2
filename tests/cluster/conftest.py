import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One owner, with its Ray, for all that leave it alive; each test brings runs of its own, and sees them end."""
    made = World(tmp_path_factory.mktemp("store"))
    made.keep()
    yield made
    made.close()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """An owner for a test that ends it."""
    made = World(tmp_path)
    yield made
    made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure stands what the owner had to say, and who lived: what it was is not to be had later."""
    report = yield
    made = next((each for each in getattr(item, "funcargs", {}).values() if isinstance(each, World)), None)
    if report.when == "call" and report.failed and made is not None:
        report.sections.append(("the store's owner", made.condition()))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if re.search(r"tests/cluster/", str(item.path)):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slow)
