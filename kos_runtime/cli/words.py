"""What a person types, before it is parsed: shortened commands, options before the command, a bare hyphen.

The parser takes a lone ``-`` for an option without a name, so it travels as a text that no shell can give.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kos_runtime.cli.outcome import USAGE, Exit

#: Stands for ``-`` while words are parsed. No argument of a process can hold a NUL.
STDIN: Final = "\0-"
_FLAGS: Final = frozenset({"--quiet", "-q", "--verbose", "-v", "--yes", "-y", "--no-input"})
_VALUED: Final = frozenset(
    {
        "--store",
        "--output",
        "-o",
        "--config",
        "--set",
        "--address",
        "--catalogue",
        "--namespace",
        "-n",
        "--time",
        "--color",
    }
)
#: Other names that say more than the command alone.
_WITH_OPTIONS: Final = {"tail": ("events", "--follow")}


def arranged(arguments: Sequence[str], commands: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the words in the parser's order: the command's own name first, then everything else.

    Args:
        arguments: What was typed.
        commands: The other names of each command, by its name.

    Raises:
        Exit: No command goes by that word, or several do.
    """
    before, rest = _leading_options(list(arguments))
    if not rest:
        if before:
            raise Exit(USAGE, f"error: no command after {' '.join(before)}\n  see: kos --help")
        return []
    word, *behind = rest
    if word.startswith(("-", "_")):
        return [*before, *rest]
    if word == "help":
        return [*([command_of(behind[0], commands)] if behind else []), "--help"]
    if word in _WITH_OPTIONS:
        named, *options = _WITH_OPTIONS[word]
        words = [named, *options, *before, *behind]
    else:
        words = [command_of(word, commands), *before, *behind]
    return [STDIN if text == "-" else text for text in words]


def _leading_options(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split off options of every command that stand before the command."""
    at = 0
    while at < len(arguments):
        option, equals, _ = arguments[at].partition("=")
        if option in _FLAGS or (equals and option in _VALUED):
            at += 1
        elif option in _VALUED and at + 1 < len(arguments):
            at += 2
        else:
            break
    return arguments[:at], arguments[at:]


def command_of(word: str, commands: Mapping[str, Sequence[str]]) -> str:
    """Return the command that a word means: its name, another name of it, or the beginning of one alone.

    Raises:
        Exit: None, or more than one.
    """
    meanings = {other: name for name, others in commands.items() for other in others}
    meanings |= {name: name for name in commands} | {other: named[0] for other, named in _WITH_OPTIONS.items()}
    if word in meanings:
        return meanings[word]
    begun = sorted(other for other in meanings if word and other.startswith(word))
    if len({meanings[other] for other in begun}) == 1:
        return meanings[begun[0]]
    if begun:
        raise Exit(USAGE, f"error: {word!r} could be {', '.join(begun)}; write more of it\n  see: kos --help")
    from kos_runtime.core.nearest import nearest

    near = nearest(word, meanings)
    hint = f"; did you mean {near!r}?" if near else ""
    raise Exit(USAGE, f"error: there is no command {word!r}{hint}\n  see: kos --help")


def restored(value: Any) -> Any:
    """Return a parsed value with ``-`` where it was typed."""
    if isinstance(value, str):
        return "-" if value == STDIN else value
    if isinstance(value, tuple | list):
        return type(value)(restored(item) for item in value)
    return value
