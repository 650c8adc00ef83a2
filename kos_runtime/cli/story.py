"""A run while it is followed: what its events tell of its steps, and what of it deserves a line of its own."""

import time
from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.cli.describe import label, summary
from kos_runtime.cli.printing import span
from kos_runtime.core.projection.steps import RunView, fold

#: How long a live run may seem to have no owner before that is believed: another one may be taking over.
_PATIENCE_S: Final = 2.0


@dataclass(slots=True)
class Lost:
    """An attempt whose process is gone, until it is given to another one. ``time`` in milliseconds."""

    agent: str
    time: int


class Story:
    """Reads a run's news from the log, and keeps what the tree shows beside the run's own view."""

    def __init__(self, reading: Any, run: str) -> None:
        self.reading, self.run = reading, run
        self.view = RunView(run)
        self.status = ""
        #: The time of the newest event, in milliseconds.
        self.time = 0
        #: path → what the step gave, or which item it is about
        self.results: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        #: path → the rule that its last failure was judged by
        self.rules: dict[str, str] = {}
        self.lost: dict[str, Lost] = {}
        #: (seq, process, cause) → the paths that it held; and lines about those that go on: what ``news`` has not told
        self._died: dict[tuple[int, str, str], list[str]] = {}
        self._back: list[str] = []
        self._gone_since = 0.0
        #: path → what was told last of how far it is
        self._told: dict[str, Any] = {}
        self._declared: list[tuple[str, str]] = []
        self._limits: dict[str, int] = {}

    def look(self) -> list[Any]:
        """Take in what happened since the last look, and return it."""
        row = self.reading.log.run(self.run)
        status = self.reading.standing(row)
        fresh = list(self.reading.lines(self.run, after=self.view.seq))
        for line in fresh:
            if line.event is not None:
                self._take(line)
        self.reading.tell_progress(self.view)
        self.status = self._believed(status)
        return fresh

    def look_until(self, seq: int) -> int:
        """Take in what happened up to a seq, and return the run's last."""
        last = 0
        for line in self.reading.lines(self.run):
            last = line.seq
            if line.seq <= seq and line.event is not None:
                self._take(line)
        return last

    def _believed(self, status: str) -> str:
        if status != "interrupted":
            self._gone_since = 0.0
            return status
        self._gone_since = self._gone_since or time.monotonic()
        return "running" if time.monotonic() - self._gone_since < _PATIENCE_S else status

    def _take(self, line: Any) -> None:
        data, path = line.data, str(line.data.get("path", ""))
        self.time = line.time
        before = self.view.steps.get(path)
        self._mark_loss(line, path, before)
        if line.type in {"StepCompleted", "ResultReused", "ResultReplaced"}:
            self.results[path] = summary(data.get("exposed"), data.get("blobs"))
        elif line.type == "StepFailed":
            self.rules[path] = data["rule"]
        elif line.type == "ItemsFrozen" and isinstance(data.get("items"), list):
            for index, item in enumerate(data["items"][:1_000]):
                self.labels[f"{path}[{index}]"] = label(item)
        elif line.type == "PlanRevised":
            self._declared, self._limits = [], {}
        fold(self.view, line.event, line.time, line.seq)

    def _mark_loss(self, line: Any, path: str, before: Any) -> None:
        """Note that an attempt's process is gone, or that another one goes on with it."""
        if line.type == "StepRedispatched":
            agent = before.agent if before is not None else ""
            self.lost[path] = Lost(agent, line.time)
            self._died.setdefault((line.seq, agent, line.data["cause"]), []).append(path)
        elif line.type == "StepScheduled" and path in self.lost:
            after = span(max(0, line.time - self.lost.pop(path).time))
            at = f"{path}@{line.data['attempt']}"
            self._back.append(f"↺ {at} goes on at {line.data['agent']} after {after} (seq {line.seq})")

    def news(self) -> list[str]:
        """Return a line for each process that died since the last call, and for each attempt that goes on elsewhere."""
        found = [*(_death(seq, agent, cause, paths) for (seq, agent, cause), paths in self._died.items()), *self._back]
        self._died, self._back = {}, []
        return found

    def reports(self) -> list[str]:
        """Return a line for each running attempt that has said something new of how far it is since the last call."""
        found = []
        for path, step in self.view.steps.items():
            if step.status == "running" and step.progress is not None and self._told.get(path) != step.progress:
                self._told[path] = step.progress
                found.append(f"{path}@{step.attempt}  {progress_text(step.progress)}")
        return found

    # --- what the plan says

    @property
    def declared(self) -> list[tuple[str, str]]:
        """(id, agent or form) of the steps of the run's plan; empty while there is none to read."""
        if not self._declared and self.view.plan:
            from kos_runtime.cli.tree import declared_steps

            self._declared = declared_steps(self.reading, self.view)
        return self._declared

    def most_retries(self, path: str) -> int:
        """Return how many retries the rule of a step's last failure allows, 0 when it cannot be told."""
        rule = self.rules.get(path, "")
        if not self._limits and self.view.plan:
            try:
                plan = self.reading.plan(self.view.plan)
            except (KeyError, ValueError):
                return 0
            self._limits = {policy.rule: policy.max_retries for policy in plan.policies}
        return self._limits.get(rule, 0)


def progress_text(said: Any) -> str:
    """Return what an attempt says of how far it is, in a few words."""
    share = "" if said.fraction is None else f"{said.fraction:.0%} "
    return " ".join(f"{share}{said.message}".split())


def _death(seq: int, agent: str, cause: str, paths: list[str]) -> str:
    """Say that a process is gone, and what it was doing."""
    why = cause.removeprefix("suspect: ")
    what = "died" if why.startswith(f"{agent} died") else f"is gone ({why})"
    shown = ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
    return f"⚡ {agent or 'an agent'} {what}; sent again: {shown} (seq {seq})"
