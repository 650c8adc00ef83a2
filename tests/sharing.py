"""How the suite is shared out among processes, by pytest-xdist.

The whole suite (``pytest`` without a path) runs in two processes; named files and tests run in one, which starts sooner.
A file stays in one process, for its fixtures, and so do the agents' tests, which share an index. Tests that start Ray stay
together too, in two groups, and begin first: they take longest, and mostly wait.
"""

from pathlib import Path
from typing import Any, Final

import pytest

#: One for each of two cores. More would put more than two Rays beside each other.
WORKERS: Final = 2
HERE: Final = Path(__file__).parent
#: Sentences that a process wants to have said at the end.
NOTES: Final = pytest.StashKey[list[str]]()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return WORKERS if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups together that begin first; all others stay in the order that was drawn."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    path = item.path.relative_to(HERE) if item.path.is_relative_to(HERE) else item.path
    if item.get_closest_marker("cluster") is not None or path.parts[0] == "cluster":
        return f"ray {path.parts[0]}"
    return "agents" if path.parts[0] == "agents" else path.as_posix()


def note(config: pytest.Config, sentence: str) -> None:
    """Have something said at the end of the whole, once, whichever process found it."""
    _notes(config).append(sentence)


def _notes(config: pytest.Config) -> list[str]:
    return config.stash.setdefault(NOTES, [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["notes"] = _notes(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for sentence in getattr(node, "workeroutput", {}).get("notes", []):
        note(node.config, sentence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for sentence in dict.fromkeys(_notes(config)):
        terminalreporter.write_line(sentence)
