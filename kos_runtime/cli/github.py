"""What GitHub's workflow log and summary understand: folded groups, annotations, a drawn graph."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from kos_runtime.cli.describe import describe
from kos_runtime.cli.printing import span
from kos_runtime.cli.story import Story
from kos_runtime.cli.tree import top
from kos_runtime.cli.visible import visible
from kos_runtime.core.projection.steps import DONE

#: What ends a run is told behind the steps that ended with it.
_ENDS: Final = frozenset({"RunCompleted", "RunFailed", "RunCancelled", "RunQuarantined"})


def follow_folded(stories: Sequence[Story], *, pause: float) -> None:
    """Follow runs; the events of each step are printed, folded, when the step is over.

    Groups cannot lie in one another and steps run side by side, so what a step does is kept until it ends.
    """
    from kos_runtime.cli.follow import is_over

    held: dict[tuple[str, str], list[str]] = {}
    begin: dict[str, int] = {}
    while True:
        for story in stories:
            after: list[str] = []
            for line in story.look():
                since = begin.setdefault(story.run, line.time)
                text = f"{(line.time - since) / 1_000:8.2f}s  {describe(line)}"
                step = top(str(line.data.get("path", "")))
                if step:
                    held.setdefault((story.run, step), []).append(text)
                elif line.type in _ENDS:
                    after.append(text)
                else:
                    _print(text)
            for run, step in [key for key in held if key[0] == story.run]:
                view = story.view.steps.get(step)
                if is_over(story) or (view is not None and view.status in DONE):
                    _fold(story, step, held.pop((run, step)))
            for text in after:
                _print(text)
        if all(map(is_over, stories)):
            return
        time.sleep(pause)


def _fold(story: Story, step: str, rows: list[str]) -> None:
    view = story.view.steps.get(step)
    title = step
    if view is not None:
        took = span(view.ended_at - view.started_at) if view.ended_at else ""
        title = f"{step}  {view.status}  {took}".rstrip()
    _print(f"::group::{title}")
    for row in rows:
        _print(row)
    _print("::endgroup::")


def annotate(run: str, status: str, error: dict[str, Any] | None) -> None:
    """Put a run that failed among the annotations of the job."""
    words = f"{(error or {}).get('type')}: {(error or {}).get('message')}"
    for character in "%\r\n":
        words = words.replace(character, f"%{ord(character):02X}")
    _print(f"::error title=kos run {run} {status}::{words}")


def summarize(reading: Any, run: str) -> None:
    """Append the run's graph to the job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    from kos_runtime.cli.graph import mermaid

    view = reading.view(run)
    statuses = {step.path: step.status for step in view.steps.values()}
    drawn = mermaid(reading.plan(view.plan), statuses)
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"### {view.workflow}: run `{run}` {view.status}\n\n```mermaid\n{drawn}\n```\n")


def _print(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)
