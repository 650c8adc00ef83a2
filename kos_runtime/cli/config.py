"""``kos config``: which settings apply, and where each comes from."""

from typing import Any, Final

from kos_runtime.cli.common import Common, said_by
from kos_runtime.cli.outcome import OK
from kos_runtime.cli.printing import Row

_COLUMNS: Final = {"setting": "SETTING", "value": "VALUE", "source": "SOURCE"}
_WIDE: Final = {**_COLUMNS, "decides": "DECIDES"}


def config(*, common: Common | None = None) -> int:
    """Show the settings that apply: of the file, the environment and the options, whichever won.

    Secrets are not shown.
    """
    common = common or Common()
    rows = list(_rows(common))
    shown = rows if common.is_data else [{**row, "value": _text(row["value"])} for row in rows]
    common.emit(shown, _WIDE if common.form == "wide" else _COLUMNS, name="setting")
    return OK


def _rows(common: Common) -> list[Row]:
    from kos_runtime.adapters.redaction import HIDDEN, is_secret_name, redact
    from kos_runtime.composition.location import config_file, find_store
    from kos_runtime.definition.settings import DEFAULT, KEYS

    settings = common.settings()
    path = config_file(common.config)
    rows: list[Row] = [
        {
            "setting": "store",
            "value": str(find_store(common.store)),
            "source": said_by("--store") if common.store else DEFAULT,
            "decides": "where the log is",
        },
        {
            "setting": "config",
            "value": path or None,
            "source": said_by("--config") if common.config else DEFAULT,
            "decides": "the engine's configuration",
        },
    ]
    for name, value, source in settings.listed():
        hidden = is_secret_name(name.rpartition(".")[2])
        decides = KEYS[name][1] if name in KEYS else ""
        rows.append(
            {"setting": name, "value": HIDDEN if hidden else redact(value), "source": source, "decides": decides}
        )
    return rows


def _text(value: Any) -> str:
    """Write a value as a file would."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return str(value)
