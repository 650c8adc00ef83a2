"""``kos schedule``, ``schedules`` and ``unschedule``, on a store that nobody owns and beside a host in this process."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client.proof import verify_all
from kos_runtime.client.reading import Reading
from kos_runtime.composition import wiring
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.schedule.calendar import Instants
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import GREET

DAILY = f"""{GREET}
  schedule: {{cron: "@daily", timezone: Europe/Berlin, catch_up: none, inputs: {{who: all}}}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "greet.yaml").write_text(GREET)
    (tmp_path / "daily.yaml").write_text(DAILY)
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "CONFIG", "SET", "ADDRESS", "NAMESPACE", "CORPUS", "OUTPUT"):
        monkeypatch.delenv(f"KOS_{name}", raising=False)
    return tmp_path


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_schedule_is_made_listed_told_and_removed_while_nobody_owns_the_store(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", "daily.yaml"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("schedule greet: seq 1 ScheduleSet by user:")
    assert "kos up" in said.err
    assert main(["schedule", "daily.yaml"]) == 0
    assert "says so already" in capsys.readouterr().out

    (found,) = rows(capsys, "schedules")
    assert {key: found[key] for key in ("schedule", "workflow", "cron", "timezone", "overlap", "catch_up")} == {
        "schedule": "greet", "workflow": "greet", "cron": "0 0 * * *", "timezone": "Europe/Berlin", "overlap": "skip",
        "catch_up": "none",
    }  # fmt: skip
    (event,) = rows(capsys, "schedules", "greet")
    assert (event["type"], event["data"]["inputs"]) == ("ScheduleSet", {"who": "all"})
    assert main(["schedules"]) == 0
    assert "Europe/Berlin" in capsys.readouterr().out

    assert main(["unschedule", "greet", "--reason", "over"]) == 0
    assert "ScheduleRemoved by user:" in capsys.readouterr().out
    assert rows(capsys, "schedules") == []
    assert [line["type"] for line in rows(capsys, "schedules", "greet")] == ["ScheduleSet", "ScheduleRemoved"]
    assert main(["verify", "--all"]) == 0


def test_what_the_command_line_says_goes_over_what_the_file_says(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--name", "often", "--cron", "*/5 * * * *", "--timezone", "UTC", "--overlap", "queue", "-p", "who=me"]
    line = rows(capsys, "schedule", "daily.yaml", *words)
    assert list(line) == ["schedule", "seq", "type", "by"]
    (found,) = rows(capsys, "schedules")
    assert (found["schedule"], found["cron"], found["timezone"]) == ("often", "*/5 * * * *", "UTC")
    assert (found["overlap"], found["catch_up"]) == ("queue", "none")
    (event,) = rows(capsys, "schedules", "often")
    assert event["data"]["inputs"] == {"who": "me"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["greet.yaml", "-p", "who=x"], 3, "does not say when it is due"),
        (["greet.yaml", "--cron", "@daily"], 3, "who"),
        (["greet.yaml", "--cron", "0 6 * *", "-p", "who=x"], 3, "has 4 fields"),
        (["greet.yaml", "--cron", "0 25 * * *", "-p", "who=x"], 3, "the hour '25' is not of 0 to 23"),
        (["greet.yaml", "--cron", "0 0 30 2 *", "-p", "who=x"], 3, "is never due"),
        (["daily.yaml", "--timezone", "Europe/Berlim"], 3, "did you mean 'Europe/Berlin'"),
        (["daily.yaml", "--name", "../x"], 3, "names no schedule"),
        (["daily.yaml", "--overlap", "never"], 2, "overlap"),
        (["nowhere.yaml"], 4, "cannot be read"),
    ],
)
def test_a_mistake_is_told_in_one_message_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert main(["schedule", *words]) == code
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert not (here / ".kos" / "events.db").exists()


def test_what_is_not_there_cannot_be_removed_or_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "daily.yaml"]) == 0
    assert main(["unschedule", "gret"]) == 4
    assert main(["schedules", "gret"]) == 4
    assert "did you mean 'greet'" in capsys.readouterr().err
    assert main(["unschedule"]) == 2


def test_validate_names_the_place_of_what_cannot_be_followed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "wrong.yaml").write_text(
        f"{GREET}\n  schedule: {{cron: 61 * * * *, timezone: Mars, inputs: {{hwo: x, who: $inputs.who}}}}\n"
    )
    assert main(["validate", "wrong.yaml", "-o", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [problem["message"] for problem in found] == [
        "'61 * * * *' is no cron expression: the minute '61' is not of 0 to 59",
        "no time zone 'Mars'",
        "no input 'hwo'",
        "input 'who' of a schedule is plain data, not a reference",
    ]
    assert main(["validate", "daily.yaml", "--strict", "-q"]) == 0


class Quick:
    """A calendar whose instants come every fifth of a second."""

    version = "quick"

    def instants(self, cron: str, timezone: str, *, after: int, until: int, most: int) -> Instants:
        due = list(range((after // 200 + 1) * 200, until + 1, 200))
        return Instants(due[-most:], len(due) > most, (max(after, until) // 200 + 1) * 200)


def test_a_host_that_stays_makes_the_runs_and_the_next_one_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "CronCalendar", Quick)
    names: set[str] = set()
    for turn in range(2):
        with kos_runtime.connect(here / ".kos", host="process", settings=EngineSettings()) as kos:
            if not turn:
                assert (
                    kos.schedule_workflow(here / "daily.yaml", {"who": "you"}, cron="* * * * *")["event"]
                    == "ScheduleSet"
                )
            else:
                kos._own()
            deadline = time.monotonic() + 20
            while kos.schedules()[0].fired < 3 * (turn + 1) and time.monotonic() < deadline:
                time.sleep(0.02)
            (view,) = kos.schedules()
            assert view.fired >= 3 * (turn + 1)
            names.add(view.last_run)
            with pytest.raises(NotFound):
                kos.unschedule("other")
            with pytest.raises(InvalidDefinition):
                kos.schedule_workflow(here / "greet.yaml", {"who": "you"})
            if turn:
                assert kos.unschedule("greet", "enough")["event"] == "ScheduleRemoved"
                assert kos.schedules() == []
    reading = Reading(here / ".kos")
    runs = reading.log.runs(workflow="greet")
    assert len(runs) == len({row.name for row in runs}) >= 6
    assert all(row.name.startswith("greet@") for row in runs)
    assert {row.run for row in runs} >= names
    assert verify_all(reading).ok
    reading.close()
