"""Follows runs: a live tree on a terminal, one plain line an event elsewhere."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

from kos_runtime.cli.common import Common, Named, Options
from kos_runtime.cli.describe import describe
from kos_runtime.cli.outcome import BY_STATUS, DETACHED, UNREACHABLE
from kos_runtime.cli.printing import now_ms
from kos_runtime.cli.story import Story
from kos_runtime.cli.tree import MOST_PARTS, head, lines
from kos_runtime.cli.visible import visible

_REFRESH_S: Final = 0.25
_LOOK_S: Final = 0.05
#: Said only with --verbose: the events beside them say as much.
_QUIET_EVENTS: Final = frozenset({"RunLinked", "ConditionMet", "ItemStarted", "TimerFired"})


def watch(*runs: Annotated[str, Named], common: Common | None = None) -> int:
    """Follow runs until they end; the exit code tells how they did, of several the worst.

    Args:
        runs: Run ids, unique prefixes, names, @latest or @failed; - reads them from standard input; the latest unless given.
    """
    common = common or Common()
    reading = common.reading()
    found = [row.run for row in common.rows(reading, runs)]
    code = follow(common, reading, found)
    if common.is_data:
        from kos_runtime.cli.reading import as_data

        rows = [reading.log.run(run) for run in found]
        common.emit(
            [as_data(common, reading, row, reading.view(row.run), reading.status(row)) for row in rows],
            {}, one=len(rows) == 1,
        )  # fmt: skip
    return code


def follow(common: Options, reading: Any, runs: Sequence[str]) -> int:
    """Follow runs to their ends, to a person, or to the loss of their owner; return the worst exit code."""
    stories = [Story(reading, run) for run in runs]
    try:
        if common.quiet:
            _silent(stories)
        elif os.environ.get("GITHUB_ACTIONS") == "true":
            from kos_runtime.cli.github import follow_folded

            follow_folded(stories, pause=_LOOK_S)
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            _live(stories, common.console(stderr=True))
        else:
            _plain(stories, whole=common.verbose)
    except KeyboardInterrupt:
        return detached(runs)
    for story in stories:
        if story.status == "interrupted":
            common.say(f"run {story.run} is interrupted: its owner is gone. Go on with: kos resume {story.run}")
    return max(BY_STATUS.get(story.status, UNREACHABLE) for story in stories)


def detached(runs: Sequence[str]) -> int:
    """Say that whatever was followed goes on without us. From now on Ctrl-C ends this process at once."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(DETACHED))
    listed = " ".join(runs)
    goes = "The run goes on" if len(runs) == 1 else "The runs go on"
    print(f"\nDetached. {goes}. Re-attach: kos watch {listed}   State: kos get {listed}", file=sys.stderr, flush=True)
    return DETACHED


def is_over(story: Story) -> bool:
    return story.status in BY_STATUS or story.status == "interrupted"


def _silent(stories: Sequence[Story]) -> None:
    while True:
        for story in stories:
            story.look()
        if all(map(is_over, stories)):
            return
        time.sleep(_LOOK_S)


def _live(stories: Sequence[Story], console: Any) -> None:
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            for story in stories:
                story.look()
                for text in story.news():
                    live.console.print(text, style="bold yellow", markup=False)
            live.update(picture(stories, console.size.height), refresh=True)
            if all(map(is_over, stories)):
                return
            time.sleep(_REFRESH_S)


def picture(stories: Sequence[Story], height: int) -> Any:
    """Return the trees of runs for a terminal so many lines high: finished parts make room for those at work."""
    from rich.text import Text

    for most in (MOST_PARTS, 4, 2, 0):
        drawn = Text(no_wrap=True, overflow="ellipsis")
        for story in stories:
            drawn.append(head(story.view, story.status) + "\n", style="bold")
            for style, line in lines(story, most_parts=most):
                drawn.append(line + "\n", style=style)
        if drawn.plain.count("\n") < height - 1:
            break
    drawn.rstrip()
    return drawn


def _plain(stories: Sequence[Story], *, whole: bool) -> None:
    begin: dict[str, int] = {}
    while True:
        for story in stories:
            prefix = f"{story.run}  " if len(stories) > 1 else ""
            for line in story.look():
                since = begin.setdefault(story.run, line.time)
                if whole or line.type not in _QUIET_EVENTS:
                    text = f"{prefix}{(line.time - since) / 1_000:8.2f}s  {describe(line)}"
                    print(visible(text), file=sys.stderr, flush=True)
            for said in story.reports():
                since = begin.get(story.run, now_ms())
                print(visible(f"{prefix}{(now_ms() - since) / 1_000:8.2f}s  {said}"), file=sys.stderr, flush=True)
        if all(map(is_over, stories)):
            return
        time.sleep(_LOOK_S)
