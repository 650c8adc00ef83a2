"""Text that is not valid Unicode, in and out of SQLite without loss.

A Python string may hold half of a surrogate pair (from a file name, from an agent's error). SQLite's driver refuses to
encode it and to decode it. Failing the whole batch of a partition for one run's odd message would be worse than
storing it, so a statement that was refused is tried again with such text as bytes of generalised UTF-8 ("WTF-8"),
which SQLite stores as text without looking. The usual path pays nothing for it.
"""

from collections.abc import Iterable, Sequence

from kos_runtime.adapters.event_store.schema import TEXT

_TEXT, _BLOB = b"t", b"b"


def lossless(columns: Sequence[str], alias: str = "") -> str:
    """Return a list of result columns that reads text and bytes as bytes, each marked with what it is."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(
        f"CASE typeof({prefix}{name}) WHEN 'text' THEN CAST('t' || CAST({prefix}{name} AS BLOB) AS BLOB)"
        f" WHEN 'blob' THEN CAST('b' || {prefix}{name} AS BLOB) ELSE {prefix}{name} END"
        for name in columns
    )


def restored(row: Sequence[object]) -> tuple[object, ...]:
    """Undo the marks of ``lossless``. Text that is no encoding of any string stays bytes."""
    return tuple(_restored(value) if isinstance(value, bytes) else value for value in row)


def _restored(value: bytes) -> object:
    if value[:1] == _BLOB:
        return value[1:]
    try:
        return value[1:].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value[1:]


def as_parameter(name: str) -> str:
    """Return a parameter for a column that may be given text as bytes."""
    return "CAST(? AS TEXT)" if name in TEXT else "?"


def encoded(values: Iterable[object]) -> list[object]:
    """Return parameters with every string as bytes."""
    return [value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value for value in values]
