"""A run as a file, and back: what is damaged is refused at its first bad line, and nothing of it is stored."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed
from kos_runtime.client.proof import verify_all, verify_run
from kos_runtime.client.reading import Reading
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import files

__all__ = ["files"]
Output = pytest.CaptureFixture[str]
BIG = """
workflow:
  id: big
  outputs: [{name: n, type: integer}]
  steps:
    - {id: a, agent: "tests.team:Team", action: huge, inputs: {megabytes: 1}, outputs: {text: text}}
    - {id: b, agent: "tests.team:Team", action: greet, inputs: {name: "x"}, outputs: {n: text}}
"""


@pytest.fixture
def exported(files: Path, capsys: Output) -> Path:
    """A file with a completed run, of which one value is a blob."""
    (files / "big.yaml").write_text(BIG.replace("integer", "string"))
    with kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.start(files / "big.yaml", name="big").result(timeout=20)
        with pytest.raises(RunFailed):
            kos.start(files / "fail.yaml", name="bad").result(timeout=20)
    assert main(["export", "big", "--file", str(files / "big.jsonl"), "--store", str(files / ".kos")]) == 0
    capsys.readouterr()
    return files / "big.jsonl"


def _import(file: Path, store: Path) -> int:
    return main(["import", str(file), "--store", str(store)])


def _whole(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def test_an_imported_run_is_verified_and_read_like_any(exported: Path, tmp_path: Path, capsys: Output) -> None:
    there, here = exported.parent / ".kos", tmp_path / "other"
    with kos_runtime.connect(here, host="process", settings=EngineSettings()) as kos:
        kos.start(exported.parent / "greet.yaml", who="you", name="own").result(timeout=20)
    assert _import(exported, here) == 0
    assert "records; look at it by" in capsys.readouterr().out
    one, other = Reading(there), Reading(here)
    run = one.find("big").run
    assert other.find("big").run == run
    assert [line.data for line in other.lines(run)] == [line.data for line in one.lines(run)]
    assert other.outputs(other.view(run)) == one.outputs(one.view(run))
    assert verify_run(other, run).problem == ""
    assert verify_all(other).problem == ""
    for words in (["get"], ["events"], ["replay", "--check"], ["graph"], ["verify"], ["watch"]):
        assert main([words[0], run, *words[1:], "--store", str(here)]) == 0, words
    assert main(["diff", run, "own", "--store", str(here)]) == 0
    assert main(["export", run, "--store", str(here)]) == 0
    assert capsys.readouterr().out.endswith(exported.read_text())


def test_importing_twice_is_said_and_changes_nothing(exported: Path, tmp_path: Path, capsys: Output) -> None:
    here = tmp_path / "other"
    assert _import(exported, here) == 0
    head = Reading(here).log.head()
    capsys.readouterr()
    assert _import(exported, here) == 0
    assert "is here already, the same; nothing was stored" in capsys.readouterr().out
    assert Reading(here).log.head() == head
    assert _import(exported, exported.parent / ".kos") == 0
    assert "is here already" in capsys.readouterr().out


def test_the_log_goes_on_after_an_import_and_the_run_is_only_read(exported: Path, tmp_path: Path) -> None:
    from kos_runtime.core.errors import InvalidDefinition

    bad = exported.parent / "bad.jsonl.gz"
    assert main(["export", "bad", "--file", str(bad), "--store", str(exported.parent / ".kos")]) == 0
    assert gzip.decompress(bad.read_bytes()).startswith(b'{"kos_export":1')
    here = tmp_path / "other"
    assert _import(bad, here) == 0
    with kos_runtime.connect(here, host="process", settings=EngineSettings()) as kos:
        kos.start(exported.parent / "greet.yaml", who="you").result(timeout=20)
        run = kos.reading.find("bad").run
        with pytest.raises(InvalidDefinition, match="only read; go on by: kos fork"):
            kos.retry_step(run)
        fork = kos.fork(run, 1)
        with pytest.raises(RunFailed):
            fork.result(timeout=20)
    assert verify_all(Reading(here)).problem == ""


def _lines(file: Path) -> list[Any]:
    return [json.loads(text) for text in file.read_text().splitlines()]


def _write(file: Path, lines: list[Any]) -> None:
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (1, {"salt": "00" * 16}, "its payload is not what the record's digest says"),
        (1, {"store": "another"}, "its hash is not what its header and its predecessor say"),
        (1, {"run": "../../etc"}, "is no run id"),
        (1, {"kos_export": 99}, "is an export of format 99"),
        (1, {"records": 10**9}, "which ought to stand here"),
        (3, {"time": 7}, "its hash is not what"),
        (3, {"names": "step_danced.1"}, "its hash is not what"),
        (3, {"payload": "AAAA"}, "its payload is not what"),
        (3, {"payload": "no base64!"}, "not encoded as it ought to be"),
        (3, {"hash": "00" * 32}, "its hash is not what"),
        (3, {"digest": "0"}, "not encoded as it ought to be"),
        (3, {"seq": "2"}, "has no 'seq'"),
        (-2, {"data": "AAAA"}, "does not hash to its name"),
        (-1, {"sha256": "00" * 32}, "its digest is not that of the lines before it"),
    ],
)
def test_a_line_that_was_changed_is_named_and_nothing_is_stored(
    exported: Path, tmp_path: Path, capsys: Output, number: int, change: dict[str, Any], words: str
) -> None:
    lines = _lines(exported)
    place = number - 1 if number > 0 else len(lines) + number
    lines[place] |= change
    _write(exported, lines)
    here = tmp_path / "other"
    assert _import(exported, here) == 3
    said = capsys.readouterr().err
    assert words in said
    assert said.rstrip().endswith("nothing was stored")
    assert _whole(here) == []


@pytest.mark.parametrize("gone", [1, 2, 3, -3, -2, -1])
def test_a_line_that_was_taken_out_or_doubled_is_refused(
    exported: Path, tmp_path: Path, capsys: Output, gone: int
) -> None:
    lines = _lines(exported)
    place = gone - 1 if gone > 0 else len(lines) + gone
    for changed in ([*lines[:place], *lines[place + 1 :]], [*lines[: place + 1], *lines[place:]]):
        _write(exported, changed)
        assert _import(exported, tmp_path / "other") == 3
        assert "nothing was stored" in capsys.readouterr().err
        assert _whole(tmp_path / "other") == []


def test_a_file_that_is_cut_anywhere_is_refused(exported: Path, tmp_path: Path, capsys: Output) -> None:
    whole = exported.read_bytes()
    ends = [n for n, byte in enumerate(whole) if byte == 10]
    for at in sorted({0, *(end + 1 for end in ends[:-1]), *ends}):
        exported.write_bytes(whole[:at])
        assert _import(exported, tmp_path / "other") == 3, at
    assert "Traceback" not in capsys.readouterr().err
    assert _whole(tmp_path / "other") == []


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\n", b"[1]\n", b"[" * 100_000 + b"\n", b"{}\n", b'{"kos_export":1}\n']
)
def test_what_is_no_export_is_refused_at_its_first_line(tmp_path: Path, capsys: Output, content: bytes) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    assert _import(file, tmp_path / "other") == 3
    assert f"{file}:1: " in capsys.readouterr().err


def test_a_compressed_file_that_is_cut_or_none_is_refused(exported: Path, tmp_path: Path, capsys: Output) -> None:
    packed = gzip.compress(exported.read_bytes())
    file = tmp_path / "x.jsonl.gz"
    for content, words in (
        (packed[: len(packed) // 2], "is cut"),
        (b"no gzip", "not compressed"),
        (packed[:-4], "is cut"),
    ):
        file.write_bytes(content)
        assert _import(file, tmp_path / "other") == 3
        assert words in capsys.readouterr().err


def test_a_run_that_had_not_ended_is_not_taken(files: Path, tmp_path: Path, capsys: Output) -> None:
    with kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.create_workflow(files / "greet.yaml", {"who": "you"}, name="new")
    file = tmp_path / "new.jsonl"
    assert main(["export", "new", "--file", str(file), "--store", str(files / ".kos")]) == 0
    assert _import(file, tmp_path / "other") == 3
    assert "had not ended" in capsys.readouterr().err


def test_an_import_needs_the_store_for_itself(exported: Path, capsys: Output) -> None:
    with kos_runtime.connect(exported.parent / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.start(exported.parent / "greet.yaml", who="you").result(timeout=20)
        assert _import(exported, exported.parent / ".kos") == 7
    assert "first end the owner by kos down" in capsys.readouterr().err


def test_a_table_and_a_page_are_made_of_text_alone(files: Path, capsys: Output) -> None:
    with kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.start(files / "greet.yaml", who="<script>alert(1)</script>").result(timeout=20)
    assert main(["export", "--format", "html", "--store", str(files / ".kos")]) == 0
    page = capsys.readouterr().out
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert main(["export", "--format", "csv", "--store", str(files / ".kos")]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "seq,time,type,step,cause,data"
    assert any(",StepCompleted,a," in row for row in rows)
