"""``docs/cli.md`` says what the command line is: every command and every option, and none that is not there."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.cli import COMMANDS, make_app, outcome
from kos_runtime.cli.common import GLOBAL

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
#: Commands whose ``--output`` is their own.
OWN_FORMS = ("graph", "messages", "validate", "format")


@cache
def parameters(command: str) -> tuple[Any, ...]:
    return tuple(a for a in make_app()[command].assemble_argument_collection(parse_docstring=True) if a.show)


def options(command: str, *, everywhere: bool) -> set[str]:
    return {
        name
        for parameter in parameters(command)
        for name in parameter.parameter.name
        if name.startswith("-") and (GLOBAL in parameter.parameter.group) is everywhere
    }


def section(heading: str) -> str:
    found = re.search(rf"^#+ {heading}\b.*?$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[2:]]


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_page_has_every_command_and_no_other() -> None:
    assert re.findall(r"^### kos (\w+)", PAGE, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_options_and_no_other(command: str) -> None:
    told = {word for row in rows(section(f"kos {command}")) for word in words(row[0])}
    real = options(command, everywhere=False) | ({"--output", "-o"} if command in OWN_FORMS else set())
    assert told == real


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_choices_and_other_names(command: str) -> None:
    text = section(f"kos {command}")
    assert set(COMMANDS[command][1]) <= set(words(text))
    for row in rows(text):
        choices = {choice for parameter in parameters(command) if words(row[0])[0] in parameter.parameter.name
                   for choice in parameter.get_choices() or ()}  # fmt: skip
        assert not choices or set(words(row[1])) == choices, row[0]


def test_each_command_names_what_it_is_given() -> None:
    for command in COMMANDS:
        heading = re.search(rf"^### kos {command}\b(.*)$", PAGE, re.MULTILINE)
        assert heading
        takes = [p for p in parameters(command) if not p.parameter.name[0].startswith("-")]
        assert bool(takes) is bool(heading[1].strip()), command


def test_the_options_of_every_command_are_told_once() -> None:
    told = {word for row in rows(section("Options of every command")) for word in words(row[0])}
    assert told == options("get", everywhere=True)
    for command in COMMANDS:
        # In a list, -q is the query.
        without = (
            told
            - ({"-q"} if command == "ls" else set())
            - ({"--output", "-o"} if command in {"schema", "completion"} else set())
        )
        assert options(command, everywhere=True) == without, command


def test_no_option_is_mentioned_that_is_not_there() -> None:
    real = {
        name for command in COMMANDS for name in options(command, everywhere=True) | options(command, everywhere=False)
    }
    real |= {"--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= real


def test_the_exit_codes_are_those_of_the_code() -> None:
    told = {int(row[0]) for row in rows(section("Exit codes"))}
    real = {value for name, value in vars(outcome).items() if name.isupper() and isinstance(value, int)}
    assert told == real | set(outcome.BY_STATUS.values()) | {3, 4}


def keys(of: str) -> list[str]:
    """Return the keys that the page tells of something."""
    return next(words(row[1]) for row in rows(section("Keys")) if row[0].replace("`", "") == of)
