"""The terminal's face: ``kos``. Only this file knows how the library that parses the command line is started.

Nothing is imported before a command needs it: ``kos --help`` and the reading commands never import Ray.
"""

import io
import sys
from typing import Any, Final

#: name → (where it is, its other names, one line of help)
COMMANDS: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "init": ("init:init", ("new", "create"), "Make a project with a workflow, agents, a test and editor support."),
    "run": ("run:run", ("start", "execute"), "Start a workflow and follow it."),
    "simulate": (
        "simulate:simulate",
        ("sim", "dry-run", "test"),
        "Run a workflow in a world where everything goes wrong, without Ray.",
    ),
    "call": ("call:call", (), "Call one capability of a service."),
    "ls": ("ls:ls", ("list", "ps", "runs"), "List runs."),
    "get": ("reading:get", ("status", "show", "describe", "inspect"), "Show one run on one screen."),
    "events": ("events:events", ("history", "tail", "audit"), "Print a run's events."),
    "messages": ("messages:messages", ("chat", "seq"), "Show what a run's agents said to each other."),
    "watch": ("follow:watch", ("attach", "follow"), "Follow runs until they end."),
    "wait": ("wait:wait", (), "Wait for runs, quietly."),
    "agents": ("owner:agents", ("actors", "workers"), "List the live agents."),
    "graph": ("graph:graph", ("viz", "draw", "plan"), "Draw a definition or a run."),
    "pause": ("steering:pause", ("suspend",), "Start nothing more of runs; what runs may end."),
    "resume": ("changes:resume", ("unpause",), "Go on with paused or interrupted runs."),
    "retry": ("changes:retry", ("rerun",), "Try again where runs failed."),
    "label": ("labels:label", (), "Set words by which a run is found."),
    "requeue": ("changes:requeue", (), "Have a run that was set aside go on."),
    "fork": ("fork:fork", ("branch",), "Go on from an earlier point as a run of its own."),
    "cancel": ("steering:cancel", ("stop", "kill", "terminate"), "Call runs off."),
    "edit": ("edit:edit", ("change", "modify"), "Change a running workflow: add, remove or modify a step."),
    "step": ("edit:step", ("run-step",), "Start a step that is ready or runs on demand."),
    "answer": ("changes:answer", (), "Answer a manual task."),
    "approve": ("people:approve", (), "Approve what a run asks for."),
    "reject": ("people:reject", ("decline",), "Reject what a run asks for."),
    "authority": ("authority:authority", ("grants",), "Show who may do what in a run."),
    "grant": ("authority:grant", ("delegate",), "Give an agent of a run authority."),
    "revoke": ("authority:revoke", (), "Take authority back, and all that came of it."),
    "signal": ("people:signal", ("send",), "Send a run a signal."),
    "schedule": ("schedules:schedule", ("cron",), "Let a workflow run by itself, at times."),
    "schedules": ("schedules:schedules", ("timetable",), "List the schedules, or what happened to one."),
    "unschedule": ("schedules:unschedule", (), "Make no more runs of a schedule."),
    "validate": ("definitions:validate", ("lint", "check"), "Check definitions."),
    "format": ("definitions:format_file", ("fmt",), "Print a definition in its canonical form."),
    "verify": ("verify:verify", (), "Check the hash chains of a run or of the whole log."),
    "replay": ("replay:replay", (), "Fold a run's state from its log again."),
    "diff": ("replay:diff", ("compare",), "Compare two runs, or one at two times."),
    "export": ("transfer:export", (), "Write a run as a file."),
    "import": ("transfer:import_", (), "Bring an exported run into this store."),
    "gc": ("gc:gc", ("archive", "prune"), "Archive or purge what runs that ended long ago have recorded."),
    "schema": ("definitions:schema", (), "Print the JSON Schema of the language."),
    "completion": ("completion:completion", (), "Print or install shell completion."),
    "config": ("config:config", ("settings",), "Show the settings that apply, and where each comes from."),
    "doctor": ("doctor:doctor", ("info", "whoami"), "Look for what is wrong with this machine."),
    "up": ("owner:up", (), "Start the store's owner and keep it."),
    "down": ("owner:down", (), "End the store's owner."),
}


def make_app() -> Any:
    """Return the parser; commands are named by where they are, and every option also reads ``KOS_<NAME>``."""
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection
    from cyclopts.config import Env

    from kos_runtime import __version__
    from kos_runtime.cli.common import FROM_ENVIRONMENT

    class Options(Env):
        """The environment's values, for options alone: a FILE or a RUN is always typed."""

        def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
            options = arguments.copy()
            options[:] = [argument for argument in arguments if argument.name.startswith("-")]
            super().__call__(app, commands, options)
            FROM_ENVIRONMENT.clear()
            for argument in options:
                for token in argument.tokens:
                    if token.source == self.source and token.keyword:
                        FROM_ENVIRONMENT[argument.name] = token.keyword

    app = App(
        name="kos",
        help="Durable multi-agent workflows on Ray.",
        version=__version__,
        config=Options("KOS_", command=False),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for name, (where, _, text) in COMMANDS.items():
        app.command(f"kos_runtime.cli.{where}", name=name, help=text)
    app.command("kos_runtime.cli.owner:own", name="_owner", show=False)
    return app


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code. Nothing that a person does wrong becomes a traceback."""
    if arguments[:1] == ["__complete"]:
        from kos_runtime.cli.completing import answer

        return answer(arguments[1:])
    from kos_runtime.cli.outcome import guarded

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that is no text, or a terminal of few letters, must not cost the message.
            stream.reconfigure(errors="backslashreplace")
    return guarded(_run, arguments, sys.stderr)


def _run(arguments: list[str]) -> Any:
    from kos_runtime.cli.words import arranged, restored

    words = arranged(arguments, {name: others for name, (_, others, _) in COMMANDS.items()})
    command, bound, _ = make_app().parse_args(words)
    return command(*restored(bound.args), **{name: restored(value) for name, value in bound.kwargs.items()})
