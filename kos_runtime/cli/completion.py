"""``kos completion``: for bash, zsh and fish."""

import os
from pathlib import Path
from typing import Annotated, Literal

from kos_runtime.cli.common import Options, Typed
from kos_runtime.cli.outcome import OK, USAGE, Exit


def completion(
    what: Annotated[Literal["show", "install"], Typed] = "show",
    /,
    *,
    shell: Literal["bash", "zsh", "fish"] | None = None,
    common: Options | None = None,
) -> int:
    """Print the completion script, or install it for the current user.

    Args:
        what: show or install.
        shell: bash, zsh or fish; the one of $SHELL unless given.
    """
    from kos_runtime.cli import make_app

    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in {"bash", "zsh", "fish"}:
        raise Exit(
            USAGE, f"error: no completion for the shell {name!r}; write for example: kos completion {what} --shell bash"
        )
    app = make_app()
    if what == "show":
        print(app.generate_completion(shell=name))
    else:
        path = app.install_completion(shell=name)
        (common or Options()).say(f"installed for {name} in {path}; it works in new shells")
    return OK
