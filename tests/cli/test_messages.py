"""The example of two agents that talk, and what `kos messages` and Python show of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import WorkflowEngine
from kos_runtime.client.proof import verify_all
from kos_runtime.definition import EngineSettings
from tests.oracle import check_store

Output = pytest.CaptureFixture[str]
EXAMPLE = Path(__file__).parents[2] / "examples" / "conversation.yaml"
TEXT = "A proposal about a tunnel. (say what it costs) (name a date) (say who decides)"


@contextmanager
def opened(folder: Path) -> Iterator[WorkflowEngine]:
    with kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()) as kos:
        yield kos


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example has run."""
    folder = tmp_path_factory.mktemp("talk")
    with opened(folder) as kos:
        assert kos.start(EXAMPLE, name="talk", topic="a tunnel").result(timeout=30) == {"text": TEXT, "turns": 4}
    return folder


@pytest.fixture
def there(talked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(talked)
    monkeypatch.delenv("CI", raising=False)
    return talked


def test_python_has_every_message_in_order(there: Path) -> None:
    with opened(there) as kos:
        run = kos.reading.find("talk").run
        said = kos.messages(run)
        assert verify_all(kos.reading).ok
    assert [(one["sender"], one["recipient"], one["status"]) for one in said] == [
        ("Writer", "Archivist", "completed"),
        *[("Writer", "Critic", "completed")] * 4,
    ]
    assert [one["reply"]["wish"] for one in said[1:]] == ["say what it costs", "name a date", "say who decides", ""]
    assert (said[0]["id"], said[1]["id"]) == (f"{run}/draft/!begun", f"{run}/draft/1/2")
    assert check_store(there / ".kos", created=[run]) == []


def test_messages_are_a_table_lines_and_data(there: Path, capsys: Output) -> None:
    assert main(["messages", "talk"]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["#", "FROM", "TO", "ACTION", "STATUS", "SAID", "ANSWERED"]
    assert "wish: name a date" in table
    assert main(["messages", "talk", "-o", "text", "--agent", "Archivist"]) == 0
    assert capsys.readouterr().out == "   1 Writer → Archivist  note: a proposal about a tunnel was begun\n"
    assert main(["chat", "talk", "-o", "json", "--conversation", "review"]) == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)] == [2, 3, 4, 5]


def test_a_sequence_diagram_is_drawn(there: Path, capsys: Output) -> None:
    assert main(["messages", "-o", "mermaid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sequenceDiagram"
    assert "    p_Critic-->>p_Writer: 3 wish: name a date" in lines


def test_events_and_get_tell_of_messages(there: Path, capsys: Output) -> None:
    assert main(["events", "talk", "--type", "Message*"]) == 0
    assert "2 draft asks Critic.on_message  text: A proposal about a tunnel." in capsys.readouterr().out
    assert main(["get", "talk"]) == 0
    assert "Critic@5" in capsys.readouterr().out
    assert main(["replay", "talk"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agent", "Crtic"], "no message of agent 'Crtic'; did you mean 'Critic'?"),
        (["--conversation", "x"], "no message of conversation 'x'; there are draft, review"),
    ],
)
def test_a_mistake_is_told(there: Path, capsys: Output, words: list[str], said: str) -> None:
    assert main(["messages", "talk", *words]) == 4
    assert said in capsys.readouterr().err
