"""Following a run: the tree and its lines, folded groups, several runs side by side."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kos_runtime.adapters.progress import Report
from kos_runtime.cli import main
from kos_runtime.cli.describe import describe, label, summary
from kos_runtime.cli.follow import picture
from kos_runtime.cli.story import Story
from kos_runtime.cli.tree import lines
from kos_runtime.client.reading import EventLine
from kos_runtime.core.projection.steps import RunView
from kos_runtime.core.workflow import events as ev

Output = pytest.CaptureFixture[str]


@dataclass
class Log:
    """A reading of one run whose events are given."""

    events: list[tuple[int, int, Any, dict[str, Any]]] = field(default_factory=list)
    status_now: str = "running"
    log: Any = None
    said: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = self

    def add(self, seq: int, time: int, event: Any, **data: Any) -> None:
        told = {name: getattr(event, name) for name in type(event).__annotations__}
        self.events.append((seq, time, event, told | data))

    def run(self, run: str) -> str:
        return run

    def standing(self, row: str) -> str:
        return self.status_now

    def lines(self, run: str, *, after: int = 0) -> Iterator[EventLine]:
        for seq, time, event, data in self.events:
            if seq > after:
                yield EventLine(seq, seq, time, type(event).__name__, "", 1, data, event)

    def tell_progress(self, view: RunView) -> None:
        for path, said in self.said.items():
            view.steps[path].progress = said

    def plan(self, digest: str) -> Any:
        raise KeyError(digest)


def created() -> ev.RunCreated:
    return ev.RunCreated("research", "1.0", "", "digest", "", b"", None, 1, "user:me")


def scheduled(path: str, attempt: int = 1, fence: int = 1, agent: str = "Scout-1") -> ev.StepScheduled:
    return ev.StepScheduled(path, attempt, fence, agent, 1_000, b"", None, None)


def running() -> Log:
    """A fan of three: one is done, one runs, one waits for its retry."""
    log = Log()
    log.add(1, 0, created())
    log.add(1, 0, ev.RunStarted())
    log.add(2, 100, scheduled("plan"))
    log.add(3, 1_300, ev.StepCompleted("plan", 1, b"", [], 1_200.0), exposed={"plan": [1, 2, 3]})
    log.add(3, 1_300, ev.ItemsFrozen("gather", 3, b"", None), items=["arxiv", {"title": "web"}, 7])
    for index in range(3):
        log.add(3, 1_300, scheduled(f"gather[{index}]"))
    log.add(4, 5_400, ev.StepCompleted("gather[0]", 1, b"", [], 4_100.0), exposed={"note": "found"})
    error = {"type": "transient", "message": "ConnectTimeout"}
    log.add(5, 6_000, ev.StepFailed("gather[2]", 1, 1, error, "default", "retry", 0, 9.0))
    log.add(5, 6_000, ev.RetryScheduled("gather[2]", 1, 9_500, 3_500))
    return log


def drawn(story: Story, now: int) -> list[str]:
    return [text for _, text in lines(story, now=now)]


def test_what_a_limit_keeps_from_starting_is_said_of_a_step_and_of_the_items_of_one() -> None:
    log = running()
    log.add(6, 6_100, ev.StepHeldBack("gather", 0, "agents.p: 2 in 1m", 61_000))
    log.add(6, 6_100, ev.StepHeldBack("after", 0, "the run: 2 at once", 0))
    story = Story(log, "7f3a")
    story.look()
    found = {line.split()[1]: line for line in drawn(story, 7_000)}
    assert found["gather"].endswith("1/3, no more than agents.p: 2 in 1m")
    assert found["after"].endswith("no more than the run: 2 at once")


def test_the_tree_tells_results_items_and_retries() -> None:
    story = Story(running(), "7f3a")
    story.look()
    assert drawn(story, 7_000) == [
        " ✔ plan              Scout-1              1.2s  plan: 3 items",
        " ● gather            for_each             5.7s  1/3",
        "   ✔ [0] arxiv       Scout-1              4.1s  note: found",
        "   ● [1] web         Scout-1              5.7s",
        "   ↻ [2]             retry 1           in 2.5s  transient: ConnectTimeout",
    ]


def test_a_wide_fan_shows_what_is_at_work_and_what_failed() -> None:
    story = Story(running(), "7f3a")
    story.look()
    assert [text for _, text in lines(story, now=7_000, most_parts=2)][2:] == [
        "   ● [1] web         Scout-1              5.7s",
        "   ↻ [2]             retry 1           in 2.5s  transient: ConnectTimeout",
        "   … 1 more, 1 of 3 are over",
    ]


def test_a_tree_makes_room_on_a_small_terminal() -> None:
    story = Story(running(), "7f3a")
    story.look()
    assert str(picture([story], 40)).count("\n") > str(picture([story], 6)).count("\n")


def test_a_death_and_what_goes_on_elsewhere_get_lines_of_their_own() -> None:
    log = running()
    story = Story(log, "7f3a")
    story.look()
    assert story.news() == []
    for path in ("gather[1]",):
        log.add(6, 7_000, ev.StepRedispatched(path, 1, "suspect: Scout-1 died: SIGKILL"))
    story.look()
    assert story.news() == ["⚡ Scout-1 died; sent again: gather[1] (seq 6)"]
    assert any("attempt 1 lost: Scout-1 died: SIGKILL" in text for text in drawn(story, 7_500))
    log.add(7, 8_700, scheduled("gather[1]", fence=2, agent="Scout-2"))
    story.look()
    assert story.news() == ["↺ gather[1]@1 goes on at Scout-2 after 1.7s (seq 7)"]
    assert story.news() == []


def test_a_death_is_told_also_when_all_of_it_is_read_at_once() -> None:
    log = running()
    log.add(6, 7_000, ev.StepRedispatched("gather[1]", 1, "silent for 30 s"))
    log.add(7, 8_700, scheduled("gather[1]", fence=2, agent="Scout-2"))
    log.add(8, 9_000, ev.StepCompleted("gather[1]", 2, b"", [], 1.0))
    story = Story(log, "7f3a")
    story.look()
    assert [text[0] for text in story.news()] == ["⚡", "↺"]


def test_a_live_run_without_an_owner_is_believed_lost_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("kos_runtime.cli.story.time.monotonic", lambda: now[0])
    log = running()
    story = Story(log, "7f3a")
    log.status_now = "interrupted"
    story.look()
    assert story.status == "running"
    now[0] += 2.5
    story.look()
    assert story.status == "interrupted"


@pytest.mark.parametrize(
    ("exposed", "blobs", "text"),
    [
        ({"plan": [1]}, [], "plan: 1 item"),
        ({"a": {"x": 1}, "b": None, "c": True, "d": 0.123456}, [], "a: 1 key, b: null, c: true, d: 0.1235"),
        ({"t": {"text": "one\ntwo", "mime": "text/plain"}}, [], "t: one two"),
        (
            {},
            [["big", "00", 70_000, "array", 12], ["raw", "00", 70_000, "string", 9]],
            "big: 12 items, raw: 70000 bytes",
        ),
        ({"s": "x" * 100}, [], f"s: {'x' * 39}…"),
        (None, None, ""),
    ],
)
def test_a_result_is_told_in_a_few_words(exposed: Any, blobs: Any, text: str) -> None:
    assert summary(exposed, blobs) == text


def test_an_item_is_told_by_its_own_words() -> None:
    assert [label(item) for item in ("a", {"id": "b"}, {"x": 1}, 3, None)] == ["a", "b", "", "", ""]


def test_every_event_of_a_history_is_one_line(there: Path) -> None:
    from kos_runtime.client.reading import Reading

    reading = Reading(there / ".kos")
    for row in reading.log.runs():
        for line in reading.lines(row.run):
            text = describe(line)
            assert text.startswith(line.type)
            assert "\n" not in text


def test_several_runs_are_followed_side_by_side_and_the_worst_counts(there: Path, capsys: Output) -> None:
    assert main(["watch", "good", "bad"]) == 1
    err = capsys.readouterr().err
    assert "RunFailed" in err
    assert "RunCompleted" in err
    assert main(["watch", "good", "wide"]) == 0
    assert main(["wait", "good", "open", "--timeout", "1s"]) == 6


def test_plain_lines_leave_nothing_out_when_asked(there: Path, capsys: Output) -> None:
    assert main(["watch", "good", "-v"]) == 0
    assert "RunLinked" in capsys.readouterr().err
    assert main(["watch", "good"]) == 0
    assert "RunLinked" not in capsys.readouterr().err


def test_github_gets_a_folded_group_for_each_step(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary_file = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary_file))
    assert main(["watch", "wide"]) == 0
    rows = capsys.readouterr().err.splitlines()
    begin, end = (
        next(i for i, row in enumerate(rows) if row.startswith(mark)) for mark in ("::group::each", "::endgroup::")
    )
    assert sum("each[" in row for row in rows[begin:end]) == 6
    assert "RunCompleted" in rows[-1]
    assert main(["resume", "bad"]) == 1
    assert "::error title=kos run" in capsys.readouterr().err
    assert "```mermaid\nflowchart TD" in summary_file.read_text()


@pytest.mark.parametrize(
    ("environment", "option", "coloured"),
    [
        ({}, "auto", False), ({"FORCE_COLOR": "1"}, "auto", True), ({"NO_COLOR": "1"}, "always", True),
        ({"FORCE_COLOR": "1"}, "never", False), ({}, "always", True),
    ],
)  # fmt: skip
def test_colours_are_as_asked_for(
    there: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    option: str,
    coloured: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["get", "good", "--color", option]) == 0
    assert ("\x1b[3" in capsys.readouterr().out) is coloured


def test_a_picture_fits_its_terminal() -> None:
    story = Story(running(), "7f3a")
    story.look()
    console = Console(width=40, height=20, record=True, file=io.StringIO())
    console.print(picture([story], 20))
    assert max(len(row) for row in console.export_text().splitlines()) <= 40


def test_a_second_ctrl_c_leaves_at_once(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    import signal

    from kos_runtime.cli.follow import detached

    kept: dict[int, Any] = {}
    left: list[int] = []
    monkeypatch.setattr("signal.signal", kept.__setitem__)
    monkeypatch.setattr("os._exit", left.append)
    assert detached(["7f3a"]) == 130
    kept[signal.SIGINT](signal.SIGINT, None)
    assert left == [130]
    assert "Re-attach: kos watch 7f3a" in capsys.readouterr().err


def test_what_an_action_says_of_how_far_it_is_stands_beside_its_step_and_is_told_once() -> None:
    log = Log()
    log.add(1, 0, created())
    log.add(2, 0, ev.RunStarted(0))
    log.add(3, 1_000, scheduled("a"))
    story = Story(log, "r")
    log.said["a"] = Report("12 of\n40 files", 0.3, 5)
    story.look()
    assert any("30% 12 of 40 files" in line for _, line in lines(story, now=2_000))
    assert story.reports() == ["a@1  30% 12 of 40 files"]
    story.look()
    assert story.reports() == []
    log.said["a"] = Report("done soon", None, 6)
    story.look()
    assert story.reports() == ["a@1  done soon"]
