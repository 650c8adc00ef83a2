"""``kos label``, and ``-l`` of other commands: words by which runs are found."""

from typing import Annotated, Any

from kos_runtime.cli.common import Common, Named, Typed
from kos_runtime.cli.outcome import OK, USAGE, Exit
from kos_runtime.cli.visible import visible


def labelled(pairs: list[str] | None, *, value_of: Any = str) -> dict[str, Any]:
    """Return what NAME=VALUE options say.

    Raises:
        Exit: One of them is no such pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Exit(USAGE, f"error: {pair!r} is no label: write NAME=VALUE")
        found[name] = value_of(text)
    return found


def label(
    run: Annotated[str, Named],
    /,
    *labels: Annotated[str, Typed],
    common: Common | None = None,
) -> int:
    """Set words by which a run is found, NAME=VALUE; without a value, NAME=, one is taken away.

    Args:
        run: A run id, unique prefix, name or @latest.
        labels: NAME=VALUE, at most 32 of a run; they are shown by `kos get` and found by `kos ls -l`.
    """
    common = common or Common()
    given = labelled(list(labels), value_of=lambda text: text or None)
    if not given:
        raise Exit(USAGE, "error: write: kos label RUN NAME=VALUE\n  see: kos label --help")
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        said = engine.set_search_attributes(row.run, given)
        line = {"run": row.run, "seq": said.get("position"), "type": said.get("event"), "by": engine.author}
        if common.is_data:
            common.emit([line], {}, one=True)
        elif line["type"]:
            print(visible(f"seq {line['seq']} {line['type']} by {line['by']}"))
        else:
            print("nothing to do: it is so already")
    finally:
        engine.close()
    return OK
