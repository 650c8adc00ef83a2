"""From whatever a command ends with to an exit code and a message.

====  ================================================
code  meaning
====  ================================================
0     done
1     the run failed, verification failed
2     usage
3     refused: a workflow, settings or a file are invalid, or
      the run is not in a state for it
4     no such run, step, event or file, or an ambiguous one
5     the run was cancelled
6     the run waits for a person
7     cluster or store unreachable
70    a bug of ours; the traceback is in a file
124   a timeout passed
130   detached by Ctrl-C
====  ================================================
"""

import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from kos_runtime.cli.visible import visible

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WAITS: Final = 6
UNREACHABLE: Final = 7
BUG: Final = 70
TIMEOUT: Final = 124
DETACHED: Final = 130
BY_STATUS: Final = {"completed": OK, "failed": FAILED, "quarantined": FAILED, "cancelled": 5, "waiting": WAITS}


class Exit(Exception):
    """Ends a command with a code, and a message when there is one."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


def guarded(run: Callable[[list[str]], Any], arguments: list[str], stderr: IO[str]) -> int:
    """Return the exit code that a command's end stands for, and say why where it did not end well."""
    from cyclopts.exceptions import CycloptsError

    from kos_runtime.core.errors import KosError, StoreError, UserError

    try:
        result = run(arguments)
    except Exit as end:
        if end.message:
            print(visible(end.message + _see(end, arguments)), file=stderr)
        return end.code
    except CycloptsError as error:
        print(_usage(error), file=stderr)
        return USAGE
    except UserError as error:
        print(visible(_words(error)), file=stderr)
        return error.exit_code
    except StoreError as error:
        print(f"error: {error}\n  see: kos doctor", file=stderr)
        return UNREACHABLE
    except KosError as error:
        print(visible(f"error: {error}"), file=stderr)
        return FAILED
    except KeyboardInterrupt:
        return DETACHED
    except BrokenPipeError:
        # Whoever reads us has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else USAGE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}\n  see: kos doctor", file=stderr)
        return UNREACHABLE
    except Exception as error:
        print(f"error: {type(error).__name__}: {error}\n  this is a bug; its traceback is in {_keep()}", file=stderr)
        return BUG
    return result if isinstance(result, int) else OK


def _usage(error: Any) -> str:
    """Say what of a command line cannot be read, and where it is written how to."""
    text = str(error).replace("\0-", "-").rstrip(".")
    tokens = getattr(error, "unused_tokens", None)
    if type(error).__name__ == "UnusedCliTokensError" and tokens:
        text = f"there is no place for {', '.join(repr(token) for token in tokens)}"
        pairs = [token for token in tokens if "=" in token]
        if pairs and tuple(error.command_chain or ()) == ("run",):
            text += f"; inputs are given as {' '.join(f'-p {pair}' for pair in pairs)}"
    elif type(error).__name__ == "UnknownOptionError" and tuple(error.command_chain or ()) == ("run",):
        text += "; inputs are given as -p NAME=VALUE"
    command = " ".join(["kos", *(error.command_chain or ())])
    return f"error: {text[:1].lower()}{text[1:]}\n  see: {command} --help"


def _see(end: Exit, arguments: list[str]) -> str:
    """Name the help of the command for a usage error that does not say itself how to go on."""
    if end.code != USAGE or "\n" in end.message:
        return ""
    word = next((word for word in arguments if not word.startswith("-")), "")
    return f"\n  see: kos {word} --help" if word else "\n  see: kos --help"


def _words(error: Exception) -> str:
    text = str(error)
    if "error[" in text:
        return text
    unreached = getattr(error, "exit_code", 0) == UNREACHABLE and "kos " not in text
    return f"error: {text}" + ("\n  see: kos doctor" if unreached else "")


def _keep() -> str:
    descriptor, path = tempfile.mkstemp(prefix="kos-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return str(Path(path))
