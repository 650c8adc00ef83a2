"""What a shell offers for a RUN or a STEP: ``kos __complete WORDS…``, which the completion scripts call at each Tab.

It answers before the library that parses the command line is loaded, and reads the store alone, so that nobody waits
for it. The answer is a candidate a line, with a tab and a few words about it. Whatever goes wrong, nothing is offered.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kos_runtime.cli import COMMANDS
from kos_runtime.cli.words import command_of

Candidate = tuple[str, str]

#: Options that are followed by a value.
VALUED: Final = frozenset(
    (
        "--address", "--after", "--agent", "--apply", "--as", "--at", "--at-once", "--attempts", "--before",
        "--catalogue", "--catch-up", "--color", "--comment", "--config", "--conversation", "--cost", "--count",
        "--cron", "--depth", "--example", "--expires", "--fallback", "--fan-out", "--fault", "--file", "--for",
        "--format", "--from", "--grace", "--head", "--inputs", "--into", "--key", "--label", "--limit",
        "--name", "--namespace", "--older", "--output", "--overlap", "--param", "--partitions", "--plot",
        "--query", "--reason", "--revision", "--runs", "--scope", "--seed", "--set", "--shell", "--since",
        "--status", "--step", "--store", "--tail", "--time", "--timeout", "--timezone", "--to", "--type",
        "--workflow", "-f", "-l", "-n", "-o", "-p",
    )
)  # fmt: skip
#: Short options that take a value in these commands alone.
_VALUED_IN: Final = {("-q", "ls")}
_FLAG_IN: Final = {("-f", "events")}
#: Commands that take a run first, or several, and those whose runs must be of one status.
_ONE_RUN: Final = frozenset(
    {
        "events",
        "messages",
        "answer",
        "graph",
        "edit",
        "label",
        "step",
        "replay",
        "fork",
        "export",
        "approve",
        "reject",
        "signal",
        "authority",
        "grant",
        "revoke",
    }
)
_RUNS: Final = frozenset({"get", "watch", "wait", "pause", "resume", "retry", "requeue", "cancel", "verify", "diff"})
#: Commands that take a step of the run, after so many words.
_STEP_AFTER: Final = {"answer": 1, "step": 1, "edit": 2}
_STATUS: Final = {
    "answer": ("waiting",),
    "edit": ("created", "pending", "running", "waiting", "paused"),
    "step": ("running", "waiting", "paused"),
    "retry": ("failed",),
    "requeue": ("quarantined", "failed"),
    "pause": ("running",),
    "resume": ("running", "waiting", "paused", "pending"),
    "cancel": ("created", "pending", "running", "waiting", "paused"),
}
#: So many runs are offered, and so many events of a run are read for its steps.
MOST_RUNS: Final = 50
MOST_EVENTS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line as far as it is typed: the command, its words, the option whose value is typed, and the store."""

    command: str
    positionals: tuple[str, ...]
    option: str
    store: str | None
    partial: str


def answer(words: Sequence[str]) -> int:
    """Print what may stand in place of the last word. Always 0: a shell shows no error here."""
    try:
        found = list(candidates(words))
    except Exception:
        return 0
    sys.stdout.write("".join(f"{value}\t{about}\n" for value, about in found if "\n" not in value + about))
    return 0


def candidates(words: Sequence[str]) -> Iterable[Candidate]:
    """Return what may stand in place of the last word, each with a few words about it."""
    line = _line(words)
    if line.option == "--step" or (not line.option and _STEP_AFTER.get(line.command) == len(line.positionals)):
        return _steps(line)
    if line.command == "edit" and not line.option and len(line.positionals) == 1:
        return [(word, "") for word in ("add-step", "remove-step", "modify-step") if word.startswith(line.partial)]
    if line.command == "wait" and line.option == "--for":
        words_for = [(word, "") for word in ("completed", "failed", "waiting")]
        return [*words_for, *((f"step={path}", about) for path, about in _steps(line))]
    if line.option or line.partial.startswith("-"):
        return ()
    if line.command in _RUNS or (line.command in _ONE_RUN and not line.positionals):
        files = _files(line.partial) if line.command == "graph" else ()
        return [*files, *_runs(line)]
    return ()


def _line(words: Sequence[str]) -> Line:
    *before, partial = words or ("",)
    command, option, store = "", "", None
    positionals: list[str] = []
    for word in before:
        if option:
            store = word if option == "--store" else store
            option = ""
        elif word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            store = value if name == "--store" else store
        elif word.startswith("-") and word != "-":
            takes = (word in VALUED and (word, command) not in _FLAG_IN) or (word, command) in _VALUED_IN
            option = word if takes else ""
        elif not command:
            command = command_of(word, {name: others for name, (_, others, _) in COMMANDS.items()})
        else:
            positionals.append(word)
    if not option and partial.startswith("--") and "=" in partial:
        option, _, partial = partial.partition("=")
    return Line(command, tuple(positionals), option, store, partial)


def _open(line: Line) -> Any:
    from kos_runtime.adapters.event_store.reader import SqliteLogReader
    from kos_runtime.composition.location import find_store

    return SqliteLogReader.open(find_store(line.store, must_exist=True))


def _runs(line: Line) -> Iterator[Candidate]:
    log = _open(line)
    try:
        statuses = _STATUS.get(line.command, ())
        rows = log.runs(status=statuses, prefix=line.partial, limit=MOST_RUNS)
        known = {row.run for row in rows}
        for row in rows:
            yield row.run, _about(row)
        for row in log.runs(status=statuses, limit=MOST_RUNS):
            if row.name and row.name.startswith(line.partial):
                yield row.name, f"{row.run}  {_about(row)}"
            if row.run not in known and row.run.startswith(line.partial):
                yield row.run, _about(row)
    finally:
        log.close()
    for word, about in (("@latest", "the newest run"), ("@failed", "the last one that failed")):
        if not statuses and word.startswith(line.partial):
            yield word, about


def _about(row: Any) -> str:
    return "  ".join(part for part in (row.workflow, row.status, row.name, row.waiting[:60]) if part)


def _steps(line: Line) -> list[Candidate]:
    """Return the steps of the run that was named, the latest unless one was; for an answer those that wait for one."""
    from kos_runtime.client.reading import Reading
    from kos_runtime.composition.location import find_store

    reading = Reading(find_store(line.store, must_exist=True))
    try:
        row = reading.find(line.positionals[0] if line.positionals else "@latest")
        view = reading.short_view(row.run, MOST_EVENTS)
        if view is None:
            waiting = row.waiting.removeprefix("manual: ").split(", ") if row.waiting else []
            return [(path, "waits for a person") for path in waiting]
        steps = view.waits_for_people if line.command in {"answer", "approve", "reject"} else list(view.steps.values())
        return [(step.path, f"{step.status}  {step.detail}"[:80].replace("\t", " ")) for step in steps]
    finally:
        reading.close()


def _files(partial: str) -> Iterator[Candidate]:
    folder, _, begin = partial.rpartition("/")
    for path in sorted(Path(folder or ("/" if partial.startswith("/") else ".")).iterdir()):
        if path.name.startswith(begin) and (path.is_dir() or path.suffix in {".yaml", ".yml"}):
            shown = f"{folder}/{path.name}" if "/" in partial else path.name
            yield (f"{shown}/" if path.is_dir() else shown), ""
