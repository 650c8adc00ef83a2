"""``docs/services.md`` runs: its workflow and its configuration, with servers on loopback in the place of those it names."""

import re
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.adapters.services import spec
from kos_runtime.composition.location import load_settings
from kos_runtime.definition.services import CAPABILITY, SERVICE
from tests.adapters.http_server import in_turn, says, server
from tests.client.chat_server import completion

PAGE = (Path(__file__).parents[2] / "docs" / "services.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"```yaml {kind}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOS_SECRET_MODEL_KEY", "key-of-the-page")
    monkeypatch.setenv("KOS_SECRET_ARCHIVE_KEY", "key-of-the-archive")
    (tmp_path / "summary.yaml").write_text(block("workflow"))
    (tmp_path / "engine.yaml").write_text(block("engine"))
    with (
        server(completion) as model,
        server(says({}, 503)) as own,
        server(in_turn(says({"items": [{"id": 7}]}), says({"number": 3}))) as archive,
    ):
        places = {"small_model": f"{model.url}/v1", "own_model": f"{own.url}/v1", "archive": archive.url}
        here = [f"services.{name}.url={url}" for name, url in places.items()]
        here += [f"services.{name}.allow_private=[127.0.0.1/32]" for name in places]
        settings = load_settings(str(tmp_path / "engine.yaml"), here, environment={})
        with kos_runtime.connect(tmp_path / ".kos", host="process", settings=settings) as kos:
            outputs = kos.start(tmp_path / "summary.yaml", article="Ray restarts processes.").result(timeout=30)
            assert outputs == {"summary": "You said: Summarize in one sentence: Ray restarts processes.", "score": 0.9}
            assert kos.call("archive", "find", q="fault tolerance") == [{"id": 7}]
            assert kos.call("archive", "file", id="a", text="b") == {"number": 3}
        assert not own.asked
    assert [asked.path for asked in archive.asked] == ["/reports?q=fault+tolerance", "/reports/a/files"]
    assert archive.asked[0].headers["X-Api-Key"] == "key-of-the-archive"


def test_the_configuration_of_the_page_can_be_linked_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "engine.yaml").write_text(block("engine"))
    settings = load_settings(str(tmp_path / "engine.yaml"), environment={})
    assert [spec.normal(name, given)["name"] for name, given in settings.services.items()] == [*settings.services]


def test_the_page_tells_every_key_and_no_other() -> None:
    tables = re.findall(
        r"^\| (`[^|]*`) \|", PAGE.partition("## A service")[2].partition("## What goes")[0], re.MULTILINE
    )
    told = {word for cell in tables for word in re.findall(r"`([^`]+)`", cell)}
    assert told == set(SERVICE.keys) | set(CAPABILITY.keys)
