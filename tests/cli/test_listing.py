"""``kos ls`` and ``kos events``: what is picked out of a store."""

import json
import threading
import time
from pathlib import Path

import pytest

from kos_runtime.cli import main

Output = pytest.CaptureFixture[str]


def names(capsys: Output, *arguments: str) -> list[str]:
    assert main(["ls", "-o", "json", *arguments]) == 0
    return [row["name"] for row in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('$status == "failed"', ["bad"]),
        ('$status in ["failed", "waiting"] and $age < 3600000', ["open", "bad"]),
        ("$steps_done == $steps and $steps > 0", ["bad", "good", "wide"]),
        ('contains($workflow, "fan") or $waiting != ""', ["open", "wide"]),
        ("$created < $started", []),
        ("$created <= $started", ["open", "bad", "good", "wide"]),
    ],
)
def test_a_query_is_an_expression_over_a_runs_row(there: Path, capsys: Output, query: str, found: list[str]) -> None:
    assert names(capsys, "-q", query) == found


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--limit", "2"], ["open", "bad"]),
        (["--workflow", "fan"], ["wide"]),
        (["--agent", "Team"], ["open", "bad", "good", "wide"]),
        (["--agent", "tests.team:Team", "--status", "failed"], ["bad"]),
        (["--agent", "nobody"], []),
        (["--since", "1h"], ["open", "bad", "good", "wide"]),
        (["--older", "1h"], []),
        (["--older", "0s", "--status", "completed"], ["good", "wide"]),
    ],
)
def test_runs_are_picked(there: Path, capsys: Output, arguments: list[str], found: list[str]) -> None:
    assert names(capsys, *arguments) == found


def test_a_list_in_a_pipe_is_neither_cut_nor_coloured(there: Path, capsys: Output) -> None:
    assert main(["ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["RUN", "WORKFLOW", "STATUS", "STEPS", "AGE", "NAME", "WAITS", "FOR"]
    assert "\x1b" not in "".join(lines)
    assert lines[1].split()[1:4] == ["ask", "waiting", "0/1"]


def test_an_empty_list_says_so(there: Path, capsys: Output) -> None:
    assert main(["ls", "--workflow", "none"]) == 0
    assert "no run meets that" in capsys.readouterr().err


def test_watching_a_list_in_a_pipe_prints_what_changed(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    genuine = time.sleep

    def sleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            genuine(seconds)  # some other thread's rest is no look
            return
        looks.append(seconds)
        if len(looks) >= 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("kos_runtime.cli.ls.time.sleep", sleep)
    assert main(["ls", "-w", "-o", "name"]) == 130
    assert len(capsys.readouterr().out.split()) == 4


def types(capsys: Output, *arguments: str) -> list[str]:
    assert main(["events", *arguments, "-o", "name"]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["good", "--type", "Run*"], ["RunCreated", "RunLinked", "RunStarted", "RunCompleted"]),
        (["good", "--type", "RunStarted", "--type", "Step*"], ["RunStarted", "StepScheduled", "StepCompleted"]),
        (["good", "--step", "a"], ["StepScheduled", "StepCompleted"]),
        (["good", "--agent", "Team"], ["StepScheduled", "StepCompleted"]),
        (["good", "--tail", "1"], ["RunCompleted"]),
        (["good", "--tail", "0"], []),
        (["wide", "--step", "each[1]"], ["StepScheduled", "StepCompleted"]),
        (["good", "-f", "--type", "Run*"], ["RunCreated", "RunLinked", "RunStarted", "RunCompleted"]),
    ],
)
def test_events_are_picked(there: Path, capsys: Output, arguments: list[str], found: list[str]) -> None:
    assert types(capsys, *arguments) == found


def test_events_go_on_behind_a_seq(there: Path, capsys: Output) -> None:
    assert main(["events", "good", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    last = rows[-1]["seq"]
    assert types(capsys, "good", "--after", str(last)) == []
    assert types(capsys, "good", "--after", str(last - 1)) == [r["type"] for r in rows if r["seq"] == last]


def test_following_what_waits_says_that_it_waits_and_leaves_on_ctrl_c(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kos_runtime.cli.events.time.sleep", sleep)
    monkeypatch.setattr("kos_runtime.cli.follow.signal.signal", lambda *_: None)
    assert main(["tail", "open", "--tail", "1"]) == 130
    err = capsys.readouterr().err
    assert "is waiting" in err
    assert "Detached. The run goes on. Re-attach: kos watch" in err
