"""Where the value of ``$secrets.NAME`` comes from: the environment of the process that runs the action, or a file.

In this order: the variable ``KOS_SECRET_NAME`` (capital letters, ``-`` as ``_``); the file that ``KOS_SECRET_NAME_FILE``
names; the file ``NAME`` in the folder ``KOS_SECRETS_DIR``, which is ``/run/secrets`` unless set. A file is read each time,
so that one that changes need no restart; its last line's end does not count.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kos_runtime.adapters.known_secrets import KNOWN
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.identity import is_name
from kos_runtime.ports.agent import ActionFailed

PREFIX: Final = "KOS_SECRET_"
FOLDER: Final = "KOS_SECRETS_DIR"
DEFAULT_FOLDER: Final = "/run/secrets"
#: Characters. What is shorter could not be hidden without hiding half of every text.
SHORTEST: Final = 6
#: Bytes of a file.
LONGEST: Final = 64 * 1024


def secret_value(name: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a secret's value; from then on this process hides it in what it reports.

    Raises:
        ActionFailed: It is not here, too short or no text: permanent, since another attempt would find the same.
    """
    env = os.environ if environment is None else environment
    variable = variable_of(name)
    if not is_name(name):
        raise _gone(f"{name!r:.60} is no name of a secret")
    value = env.get(variable)
    if value is None:
        value = _of_file(name, variable, env)
    if len(value) < SHORTEST:
        raise _gone(f"the secret {name} has fewer than {SHORTEST} characters and could not be kept out of the log")
    KNOWN.learn(value)
    return value


def variable_of(name: str) -> str:
    """Return the environment variable of a secret."""
    return PREFIX + name.upper().replace("-", "_")


def _of_file(name: str, variable: str, env: Mapping[str, str]) -> str:
    named = env.get(f"{variable}_FILE")
    path = Path(named) if named else Path(env.get(FOLDER) or DEFAULT_FOLDER) / name
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        raise _gone(
            f"the secret {name} is not here: set {variable} where the agents' processes run, or put it into a file "
            f"that {variable}_FILE names, or {name} in the folder {FOLDER} ({path}: {error.strerror or type(error).__name__})"
        ) from None
    if len(data) > LONGEST:
        raise _gone(f"the secret {name} in {path} has more than {LONGEST // 1024} KiB")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _gone(f"the secret {name} in {path} is no text") from None


def _gone(message: str) -> ActionFailed:
    return ActionFailed(ErrorType.PERMANENT, message)
