"""Where the store is, and which settings apply."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kos_runtime.core.errors import InvalidDefinition, NotFound

if TYPE_CHECKING:
    # Finding a store is what every reading command does; it needs nothing of the language.
    from kos_runtime.definition.settings import EngineSettings

STORE: Final = ".kos"
FILE: Final = "events.db"
#: An engine's configuration that is found without being named, beside the store.
CONFIG: Final = "workflow-engine.yaml"


def find_store(given: str | None, *, start: Path | None = None, must_exist: bool = False) -> Path:
    """Return the store's folder: as given, else ``KOS_STORE``, else the nearest ``.kos`` upwards, else ``./.kos``.

    Raises:
        NotFound: There is none and ``must_exist``.
    """
    text = given or os.environ.get("KOS_STORE", "")
    if text:
        folder = Path(text).expanduser()
    else:
        here = (start or Path.cwd()).resolve()
        folder = next((p / STORE for p in (here, *here.parents) if (p / STORE / FILE).exists()), here / STORE)
    if must_exist and not (folder / FILE).exists():
        hint = "start a run with `kos run FILE`, or name another store by --store or KOS_STORE"
        raise NotFound(f"there is no store at {folder}; {hint}")
    return folder


def config_file(config: str | None, environment: Mapping[str, str] | None = None) -> str:
    """Return the configuration file that applies: as given, else ``KOS_CONFIG``, else that of the working directory."""
    env = os.environ if environment is None else environment
    return config or env.get("KOS_CONFIG") or (CONFIG if Path(CONFIG).is_file() else "")


def load_settings(
    config: str | None,
    overrides: Sequence[str] = (),
    *,
    options: Sequence[tuple[str, str, str]] = (),
    environment: Mapping[str, str] | None = None,
    said: str = "--set",
) -> "EngineSettings":
    """Return the effective settings: defaults, then the configuration file, then the environment, then ``--set``.

    ``config`` None takes ``workflow-engine.yaml`` of the working directory, if there is one, or ``KOS_CONFIG``.
    ``options`` are (setting, text, where it was said) of options that have a name of their own, and win over the others;
    ``said`` is where the overrides were said.

    Raises:
        InvalidDefinition: A file, a variable or a ``--set`` that does not fit.
    """
    from kos_runtime.definition.document import EngineDocument, load
    from kos_runtime.definition.settings import EngineSettings

    env = os.environ if environment is None else environment
    settings = EngineSettings()
    path = config_file(config, env)
    if path:
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise InvalidDefinition(f"the configuration {path} cannot be read: {error.strerror}") from error
        document = load(text, path)
        if not isinstance(document, EngineDocument):
            raise InvalidDefinition(f"{path} is no engine configuration; it begins with engine:")
        settings = EngineSettings.from_document(document.content, path, where=document.source.line)
    if env.get("KOS_CORPUS"):
        settings = settings.with_overrides({"agents.kExecutor.corpus": _quoted(env["KOS_CORPUS"])}, "KOS_CORPUS")
    changes: dict[str, str] = {}
    for text_override in overrides:
        name, equals, value = text_override.partition("=")
        if not equals:
            raise InvalidDefinition(f"{said} {text_override}: write --set NAME=VALUE")
        changes[name.strip()] = value
    settings = settings.with_overrides(changes, said)
    for name, value, where in options:
        settings = settings.with_overrides({name: _quoted(value)}, where)
    return settings


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
