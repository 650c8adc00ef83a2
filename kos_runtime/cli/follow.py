"""Follows runs: a live tree on a terminal, one plain line an event elsewhere."""

import sys
import time
from typing import Annotated, Any

from cyclopts import Parameter

from kos_runtime.cli.common import Common, now_ms
from kos_runtime.cli.outcome import BY_STATUS, DETACHED, TIMEOUT, UNREACHABLE, Exit
from kos_runtime.cli.tree import declared_steps, head, lines

_REFRESH_S = 0.25
_LOOK_S = 0.05
_QUIET_EVENTS = frozenset({"RunLinked", "ConditionMet", "ItemStarted", "TimerFired"})


def watch(*runs: str, common: Common | None = None) -> int:
    """Follow runs until they end; the exit code tells how the last one did.

    Args:
        runs: Run ids, unique prefixes, names, @latest or @failed; the latest unless given.
    """
    common = common or Common()
    reading = common.reading()
    code = 0
    for text in runs or ("@latest",):
        row = reading.find(text)
        code = max(code, follow(common, reading, row.run))
    return code


def wait(
    *runs: str,
    for_: Annotated[str, Parameter(name="--for")] = "",
    timeout: str = "",
    common: Common | None = None,
) -> int:
    """Wait until runs have ended, wait for a person, or have come to something else.

    Args:
        runs: Run ids, prefixes, names, @latest or @failed.
        for_: completed, failed, waiting, or step=ID.
        timeout: How long at most, such as 10m; then the exit code is 124.
    """
    from kos_runtime.core.errors import InvalidDefinition
    from kos_runtime.core.instant import parse_duration

    common = common or Common()
    reading = common.reading()
    try:
        deadline = time.monotonic() + parse_duration(timeout) / 1_000 if timeout else None
    except ValueError as error:
        raise Exit(2, f"error: --timeout: {error}") from error
    if for_ and for_ not in {"completed", "failed", "waiting"} and not for_.startswith("step="):
        raise InvalidDefinition(f"--for {for_}: expected completed, failed, waiting or step=ID")
    code = 0
    for text in runs or ("@latest",):
        run = reading.find(text).run
        code = max(code, _wait_one(common, reading, run, for_, deadline))
    return code


def _wait_one(common: Common, reading: Any, run: str, goal: str, deadline: float | None) -> int:
    gone = 0
    while True:
        row = reading.log.run(run)
        status = reading.status(row)
        if goal.startswith("step="):
            step = reading.view(run).steps.get(goal[5:])
            if step is not None and step.status == "completed":
                return 0
        elif goal and status == goal:
            return 0
        if status in BY_STATUS:
            return BY_STATUS[status] if not goal else BY_STATUS[status] or 1
        gone = gone + 1 if status == "interrupted" else 0
        if gone > 20:
            common.say(f"run {run} is interrupted; go on with: kos resume {run}")
            return UNREACHABLE
        if deadline is not None and time.monotonic() > deadline:
            common.say(f"run {run} is {status}; the time is over")
            return TIMEOUT
        time.sleep(_LOOK_S)


def follow(common: Common, reading: Any, run: str) -> int:
    """Follow one run to its end, to a person, or to the loss of its owner; return the exit code."""
    console = common.console(stderr=True)
    try:
        if console.is_terminal and not common.quiet:
            status = _live(reading, run, console)
        else:
            status = _plain(common, reading, run)
    except KeyboardInterrupt:
        print(f"\nDetached. The run goes on. Re-attach: kos watch {run}   State: kos get {run}", file=sys.stderr)
        return DETACHED
    if status == "interrupted":
        common.say(f"run {run} is interrupted: its owner is gone. Go on with: kos resume {run}")
        return UNREACHABLE
    return BY_STATUS.get(status, 1)


def _is_over(status: str) -> bool:
    return status in BY_STATUS


class _Watch:
    """Reads a run's news; notices when its owner is gone for good."""

    def __init__(self, reading: Any, run: str) -> None:
        self.reading, self.run = reading, run
        self.view = None
        self.gone_since = 0.0

    def look(self) -> tuple[Any, str]:
        row = self.reading.log.run(self.run)
        status = self.reading.status(row)
        self.view = self.reading.view(self.run, into=self.view)
        if status == "interrupted":
            self.gone_since = self.gone_since or time.monotonic()
            if time.monotonic() - self.gone_since < 2.0:
                return self.view, "running"
        else:
            self.gone_since = 0.0
        return self.view, status


def _live(reading: Any, run: str, console: Any) -> str:
    from rich.live import Live
    from rich.text import Text

    watch = _Watch(reading, run)
    steps: list[tuple[str, str]] = []
    told: set[str] = set()
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        while True:
            view, status = watch.look()
            steps = steps or declared_steps(reading, view)
            text = Text()
            text.append(head(view, status) + "\n", style="bold")
            for style, line in lines(view, steps):
                text.append(line + "\n", style=style)
            for news in _deaths(reading, run, told):
                live.console.print(news, style="bold yellow")
            live.update(text)
            if _is_over(status) or status == "interrupted":
                return status
            time.sleep(_REFRESH_S)


def _deaths(reading: Any, run: str, told: set[str]) -> list[str]:
    """Return a line for each dispatch that was lost with its process since the last look."""
    view = reading.view(run)
    if not view.redispatches:
        return []
    news = []
    for line in reading.lines(run):
        key = f"{line.seq}:{line.type}:{line.data.get('path')}"
        if line.type == "StepRedispatched" and key not in told:
            told.add(key)
            news.append(f"⚡ {line.data['path']}: {line.data['cause']}; sent again (seq {line.seq})")
    return news


def _plain(common: Common, reading: Any, run: str) -> str:
    watch = _Watch(reading, run)
    seen = 0
    begin = 0
    while True:
        _, status = watch.look()
        for line in reading.lines(run, after=seen):
            seen = line.seq
            begin = begin or line.time
            if not common.quiet and line.type not in _QUIET_EVENTS:
                print(f"{(line.time - begin) / 1_000:8.2f}s  {describe(line)}", file=sys.stderr, flush=True)
        if _is_over(status) or status == "interrupted":
            return status
        time.sleep(_LOOK_S)


def describe(line: Any) -> str:
    """Write one event as one line."""
    data = line.data
    path = data.get("path", "")
    match line.type:
        case "StepScheduled":
            return f"{line.type:<20} {path}@{data['attempt']} → {data['agent']}"
        case "StepCompleted":
            return f"{line.type:<20} {path}  {data['duration_ms']:.0f}ms"
        case "StepFailed":
            return f"{line.type:<20} {path}@{data['attempt']}  {data['error']['type']}: {data['error']['message']}  ({data['rule']}: {data['then']})"
        case "RetryScheduled":
            return f"{line.type:<20} {path}  in {data['delay_ms']}ms"
        case "StepRedispatched":
            return f"⚡ {path}: {data['cause']}; sent again"
        case "RunFailed" | "StepGaveUp":
            return f"{line.type:<20} {path or data.get('step', '')}  {data['error'].get('type')}: {data['error'].get('message')}"
        case "RunCreated":
            return f"{line.type:<20} {data['workflow']} {data['version']} by {data['author']}"
        case "DecisionTaken":
            return f"{line.type:<20} {path}  {data['branch']} → {', '.join(data['steps']) or 'nothing'}"
        case "EscalationAnswered":
            return f"{line.type:<20} {path}  {data['answer']} by {data['by']}, rule {data['rule']}: {data['reason']}"
        case "ManualTaskRequested":
            return f"{line.type:<20} {path}  {data['prompt']}"
        case "LoopEnded":
            return f"{line.type:<20} {path}  {data['turns']} turns, {data['reason']}"
        case "StepSkipped" | "StepCancelled":
            return f"{line.type:<20} {path}  {data['reason']}"
        case _:
            return f"{line.type:<20} {path}".rstrip()


__all__ = ["describe", "follow", "now_ms", "wait", "watch"]
