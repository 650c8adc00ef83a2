"""The example that reviews a repository: what its tools say of the shipped one, who disagrees, and what comes of it."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from agents import ActionFailed
from examples.code_review.arbiter import Arbiter
from examples.code_review.processes import run_module
from examples.code_review.tools import Claim
from kos_runtime.client import RunFailed, WorkflowEngine
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import EngineSettings
from tests.cluster.world import is_alive, wait_until
from tests.oracle import check_store

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "code-review.yaml"


@pytest.fixture(scope="module")
def kos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkflowEngine]:
    folder = tmp_path_factory.mktemp("review") / ".kos"
    with kos_runtime.connect(folder, host="process", settings=EngineSettings()) as engine:
        yield engine


def by_place(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["place"]: finding for finding in result["findings"]}


def test_the_shipped_repository_is_reviewed_and_what_tools_disagree_about_is_settled(kos: WorkflowEngine) -> None:
    run = kos.start(EXAMPLE, files_per_share=9)
    result = run.result(timeout=120)
    found = by_place(result)
    # ruff and mypy mean the same line and the same mistake, and take it differently.
    optional = found["lending/loans.py:21"]
    assert (optional["severity"], optional["tools"], optional["settled_by"]) == (
        "error", "mypy+ruff", "vote, 2 of 3; ruff said note",
    )  # fmt: skip
    # A bare waiver knows nothing of what it waives; one that names the rule does.
    assert found["lending/fines.py:20"]["settled_by"] == "vote, 2 of 3; owner said waived"
    assert (found["lending/fines.py:24"]["severity"], found["lending/fines.py:24"]["rules"]) == ("waived", "S101")
    # What a test and a type checker both say needs no vote.
    crash = found["lending/loans.py:32"]
    assert (crash["severity"], crash["tools"], crash["settled_by"]) == ("error", "mypy+pytest", "agreement")
    assert [(vote["reviewer"], vote["says"]) for vote in result["votes"]] == [
        ("correctness", "fail"), ("style", "pass"), ("safety", "fail"),
    ]  # fmt: skip
    assert all(vote["because"] for vote in result["votes"])
    assert result["verdict"] == "fail"
    events = [line.event for line in kos.reading.lines(run.id)]
    assert len([event for event in events if isinstance(event, ev.ConsensusReached)]) == 3
    assert check_store(kos.reading.folder, created=[run.id]) == []
    assert not [path for path in (ROOT / "examples" / "lending").rglob("*") if "cache" in path.name], "nothing is left"


def test_a_repository_in_order_passes_wherever_its_tools_find_their_settings(
    kos: WorkflowEngine, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "sum.py").write_text("def total(of: list[int]) -> int:\n    return sum(of)\n")
    result = kos.start(EXAMPLE, repository=str(tmp_path / "one"), tools=["ruff"]).result(timeout=60)
    assert (result["verdict"], result["findings"]) == ("pass", [])


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"repository": "nowhere/at/all"}, "there is no folder .*nowhere/at/all"),
        ({"tools": ["rough"]}, "'rough' is no tool of this review; there are ruff, mypy, pytest"),
        ({"python": "/no/python"}, "/no/python cannot be started: No such file"),
        ({"repository": "docs"}, "there is no Python file in .*docs"),
        ({"files_per_share": 0}, "files_per_share is 1 or more, not 0"),
    ],
)
def test_what_cannot_be_reviewed_is_said(
    kos: WorkflowEngine, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(RunFailed, match=told):
        kos.start(EXAMPLE, **inputs).result(timeout=30)


def test_a_tool_that_is_not_installed_is_named_with_what_to_do(kos: WorkflowEngine, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(
        RunFailed, match=r"ruff is not installed for .*: pip install ruff, or review without it: -p 'tools="
    ):
        kos.start(EXAMPLE, python=str(bare)).result(timeout=30)


def claim(tool: str, severity: str, code: str, waived: str = "") -> Claim:
    return {
        "tool": tool,
        "file": "a.py",
        "line": 1,
        "code": code,
        "message": code,
        "severity": severity,
        "waived": waived,
    }


def test_without_an_outcome_of_the_vote_the_higher_rank_settles_it() -> None:
    claims = [claim("ruff", "note", "C403"), claim("mypy", "error", "arg-type")]
    disputes = Arbiter().compare(claims)["disputes"]
    assert [one["says"] for one in disputes] == [{"mypy": "error", "ruff": "note"}]
    tie = {"outcome": "tie", "accepted": False, "votes": []}
    (finding,) = Arbiter().settle(claims, disputes, [tie])["findings"]
    assert (finding["severity"], finding["settled_by"]) == ("error", "rank of mypy; ruff said note")


def test_a_comment_that_names_one_rule_waives_no_other() -> None:
    claims = [claim("ruff", "warning", "S101", "named"), claim("ruff", "error", "F821")]
    disputes = Arbiter().compare(claims)["disputes"]
    (finding,) = Arbiter().settle(claims, disputes, [None])["findings"]
    assert (finding["severity"], finding["settled_by"]) == ("error", "rank of ruff; owner said waived")


#: A tool that starts another process, says who they are, and goes on.
SLEEPER = """
import os, pathlib, subprocess, time
child = subprocess.Popen(["sleep", "60"])
pathlib.Path("pids.part").write_text(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "pids")
time.sleep(60)
"""


def pids_in(folder: Path) -> list[int]:
    wait_until((folder / "pids").exists, "the tool began")
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def test_a_tool_that_is_called_off_is_ended_with_what_it_started(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)

    async def called_off() -> list[int]:
        running = asyncio.create_task(run_module("", "sleeper", [], tmp_path, 60.0))
        pids = await asyncio.to_thread(pids_in, tmp_path)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return pids

    pids = asyncio.run(called_off())
    wait_until(lambda: not any(map(is_alive, pids)), "both have ended")


def test_a_tool_that_takes_too_long_is_ended_and_one_that_says_too_much_too(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    with pytest.raises(ActionFailed, match="sleeper did not end within 1 s"):
        asyncio.run(run_module("", "sleeper", [], tmp_path, 1.0))
    (tmp_path / "talker.py").write_text("while True:\n    print('word ' * 10_000)\n")
    with pytest.raises(ActionFailed, match="talker says more than 8 MiB"):
        asyncio.run(run_module("", "talker", [], tmp_path, 60.0))


def test_a_tool_ends_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    code = (
        "import asyncio, pathlib\nfrom examples.code_review.processes import run_module\n"
        "asyncio.run(run_module('', 'sleeper', [], pathlib.Path.cwd(), 60.0))\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        pids = pids_in(tmp_path)
        starter.kill()
        wait_until(lambda: not any(map(is_alive, pids)), "both have ended")
    finally:
        starter.kill()
        starter.wait()
