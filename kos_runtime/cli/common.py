"""Options that every command takes, and what they give a command: settings, an engine, a store, a way to print."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from cyclopts import Group, Parameter

from kos_runtime.cli.printing import emit, iso, now_ms, span
from kos_runtime.cli.visible import visible

Output = Literal["table", "wide", "json", "jsonl", "yaml", "name"]
GLOBAL: Final = Group("Global options", sort_key=10)
#: Marks what is always typed, a FILE or a RUN: the environment says nothing of it.
Typed: Final = Parameter(show_env_var=False)


def _by_calling_back(context: Any) -> tuple[str, ...]:
    """Mark what a shell asks for at each Tab; ``kos_runtime.cli.completing`` answers, before the parser is there."""
    del context
    return ()


#: Marks a RUN, or a step of one.
Named: Final = Parameter(show_env_var=False, completer=_by_calling_back)
OfRun: Final = Parameter(completer=_by_calling_back)


#: Options that took their value from the environment, and from which variable.
FROM_ENVIRONMENT: Final[dict[str, str]] = {}


def said_by(option: str) -> str:
    """Return where an option got its value: its own name, or that of a variable."""
    return FROM_ENVIRONMENT.get(option, option)


def flag(*names: str) -> Parameter:
    """Return a flag that has no opposite."""
    return Parameter(name=names, negative="")


def option(*names: str) -> Parameter:
    """Return such a flag of every command."""
    return Parameter(name=names, negative="", group=GLOBAL)


@Parameter(name="*")
@dataclass(kw_only=True)
class Options:
    """Options of every command."""

    store: Annotated[str | None, Parameter(group=GLOBAL)] = None
    "The store's folder; the nearest .kos upwards unless given."
    config: Annotated[str | None, Parameter(group=GLOBAL)] = None
    "An engine configuration; workflow-engine.yaml of the working directory unless given."
    set: Annotated[list[str], Parameter(name="--set", consume_multiple=False, negative="", group=GLOBAL)] = field(
        default_factory=list
    )
    "A setting, such as --set agents.kExecutor.corpus=docs."
    address: Annotated[str, Parameter(group=GLOBAL)] = ""
    "A Ray cluster to use instead of a local one."
    namespace: Annotated[str, Parameter(name=["--namespace", "-n"], group=GLOBAL)] = ""
    "The Ray namespace of the actors, kos unless given; two stores on one cluster need one each."
    time: Annotated[Literal["relative", "iso", "raw"], Parameter(group=GLOBAL)] = "relative"
    "How times are printed; raw is milliseconds since 1970, which json, jsonl and yaml print unless iso is named."
    catalogue: Annotated[str | None, Parameter(group=GLOBAL)] = None
    "The folder in which sub-workflows and templates are found; else KOS_CATALOGUE, else that of the file."
    color: Annotated[Literal["auto", "always", "never"], Parameter(group=GLOBAL)] = "auto"
    "Whether to use colours; NO_COLOR and FORCE_COLOR are heeded."
    quiet: Annotated[bool, option("--quiet", "-q")] = False
    "Say nothing but data and errors."
    verbose: Annotated[bool, option("--verbose", "-v")] = False
    "Say more: where settings come from, every event while following."
    yes: Annotated[bool, option("--yes", "-y")] = False
    "Answer yes where a command would ask whether it may."
    no_input: Annotated[bool, option("--no-input")] = False
    "Never ask; a run that waits for a person ends the command with exit code 6. Set where CI is."

    @property
    def form(self) -> str:
        """How data is printed."""
        return "table"

    @property
    def is_data(self) -> bool:
        """Whether standard output is for a machine."""
        return self.form in {"json", "jsonl", "yaml", "name"}

    # --- what a command works on

    def settings(self) -> Any:
        from kos_runtime.composition.location import load_settings

        named = [
            ("engine.ray.namespace", self.namespace, "--namespace"),
            ("engine.ray.address", self.address, "--address"),
        ]
        options = [(name, text, said_by(option)) for name, text, option in named if text]
        settings = load_settings(self.config, self.set, options=options, said=said_by("--set"))
        if self.verbose:
            for name, source in settings.sources.items():
                self.say(f"setting {name} from {source}")
        return settings

    @property
    def catalogue_folder(self) -> str | None:
        return self.catalogue or os.environ.get("KOS_CATALOGUE") or None

    def engine(self) -> Any:
        """Return the engine over this store; nothing is started yet."""
        from kos_runtime.client.engine import WorkflowEngine

        engine = WorkflowEngine(
            self.store, settings=self.settings(), address=self.address, say=self.say, catalogue=self.catalogue
        )
        self._tell_store(engine.folder)
        return engine

    def reading(self) -> Any:
        """Return the store for reading.

        Raises:
            NotFound: There is no store.
        """
        from kos_runtime.client.reading import Reading
        from kos_runtime.composition.location import find_store

        folder = find_store(self.store, must_exist=True)
        self._tell_store(folder)
        return Reading(folder)

    def _tell_store(self, folder: Any) -> None:
        if self.verbose:
            self.say(f"store {folder}")

    def rows(self, reading: Any, runs: Sequence[str]) -> list[Any]:
        """Return the rows of the runs that were named, each once; the latest when none was.

        ``-`` stands for the names on standard input, one a line.
        """
        named: list[str] = []
        for text in runs or ("@latest",):
            named += sys.stdin.read(1 << 20).split() if text == "-" else [text]
        found = {row.run: row for row in (reading.find(text) for text in named)}
        return list(found.values())

    # --- people

    def say(self, text: str) -> None:
        """Tell a person something that is no data."""
        if not self.quiet:
            print(visible(text), file=sys.stderr, flush=True)

    def asks(self) -> bool:
        """Say whether a person can be asked."""
        return not (self.no_input or os.environ.get("CI") or not sys.stdin.isatty() or not sys.stdout.isatty())

    def may(self, question: str) -> bool:
        """Ask whether something may be done; where nobody can be asked, or with --yes, it may."""
        if self.yes or not self.asks():
            return True
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in {"y", "yes"}

    # --- data

    def console(self, *, stderr: bool = False) -> Any:
        from rich.console import Console
        from rich.segment import Segment

        class Pipe(Console):
            def on_broken_pipe(self) -> None:
                # Whoever reads us has seen enough; the default would end with exit code 1.
                raise BrokenPipeError

            def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
                for part in super().render(renderable, options):
                    yield part if part.control else Segment(visible(part.text), part.style)

        match self.color:
            case "always":
                return Pipe(
                    stderr=stderr, force_terminal=True, no_color=False, color_system="standard", highlight=False
                )
            case "never":
                return Pipe(stderr=stderr, no_color=True, highlight=False)
            case _:
                return Pipe(stderr=stderr, highlight=False)

    def emit(
        self, rows: Iterable[dict[str, Any]], columns: dict[str, str], *, one: bool = False, name: str = "run"
    ) -> None:
        """Print rows in the form that was asked for. ``columns`` maps keys to the headings of the table."""
        emit(self.form, rows, columns, None if self.is_data else self.console(), one=one, name=name)

    def instant(self, instant: int) -> int | str:
        """Return an instant as data."""
        return iso(instant) if self.time == "iso" and instant else instant

    def when(self, instant: int) -> str:
        """Write an instant for a person."""
        if not instant:
            return ""
        match self.time:
            case "raw":
                return str(instant)
            case "iso":
                return iso(instant)
            case _:
                return f"{span(max(0, now_ms() - instant))} ago"


@Parameter(name="*")
@dataclass(kw_only=True)
class Common(Options):
    """Options of every command that prints rows."""

    output: Annotated[Output, Parameter(name=["--output", "-o"], group=GLOBAL)] = "table"
    "How data is printed."

    @property
    def form(self) -> str:
        return self.output


__all__ = [
    "GLOBAL",
    "Common",
    "Named",
    "OfRun",
    "Options",
    "Output",
    "Typed",
    "flag",
    "iso",
    "now_ms",
    "option",
    "said_by",
    "span",
]
