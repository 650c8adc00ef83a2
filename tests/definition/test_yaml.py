"""What the reader of YAML takes, and how it refuses hostile text: always with a place, never with a traceback."""

from pathlib import Path

import pytest
import yaml

from kos_runtime.definition import DefinitionError, load
from kos_runtime.definition import text as text_module
from kos_runtime.definition.text import MAX_BYTES, read
from tests.definition.files import EXAMPLES, said


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("010", "010"), ("0o17", "0o17"), ("0x1F", "0x1F"), ("12", 12),
        ("-7", -7), ("+3", 3), ("1_000", "1_000"), ("12:30:00", "12:30:00"), ("2026-11-23", "2026-11-23"), ("1.10", 1.1),
        ("1e3", 1000.0), ("0.5", 0.5), (".5", 0.5), ("1.2.3", "1.2.3"), ("9223372036854775807", 2**63 - 1), ("=", "="),
        ("'12'", "12"), ('"true"', "true"), ("24h", "24h"), ("1.", 1.0),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(written: str, value: object) -> None:
    found = read(f"a: {written}\n", "f").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_texts_as_they_were_written() -> None:
    assert read("on: 1\n1: 2\ntrue: 3\nnull: 4\n", "f").data == {"on": 1, "1": 2, "true": 3, "null": 4}


def test_a_number_can_be_read_as_it_was_written() -> None:
    source = read("version: 1.10\n", "f")
    assert source.raw[("version",)] == "1.10"


def test_line_ends_and_a_byte_order_mark_make_no_difference() -> None:
    assert read(b"\xef\xbb\xbfa: 1\r\nb: [2,\r\n 3]\r\n", "f").data == {"a": 1, "b": [2, 3]}


def test_columns_count_characters_not_bytes() -> None:
    assert said("workflow: {id: x, description: äöü€😀, stepz: 1}\n")[0].startswith("1:11 KOS101")
    assert any(
        line.startswith("1:39 KOS102 unknown key 'stepz'")
        for line in said("workflow: {id: x, description: äöü€😀, stepz: 1}\n")
    )


BILLION_LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nworkflow: {id: w}\n"
NESTED_MERGES = "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\n" + "".join(f"c{i}: {{<<: [*b, *b]}}\n" for i in range(24))
HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "billion laughs": (BILLION_LAUGHS, "1:4 KOS007 anchors (&a) are not allowed; write the value out"),
    "nested merge keys": (NESTED_MERGES, "1:4 KOS007 anchors (&a) are not allowed; write the value out"),
    "alias": ("a: *b\n", "1:4 KOS007 aliases (*b) are not allowed; write the value out"),
    "merge key": ("workflow:\n  <<: {id: a}\n", "2:3 KOS007 merge keys (<<) are not allowed; write the keys out"),
    "python object": (
        "workflow: !!python/object/apply:os.system [ls]\n",
        ("1:11 KOS008 tags (tag:yaml.org,2002:python/object/apply:os.system) are not allowed; "
        "put a text that begins with '!' in quotes"),
    ),
    "own tag": ("a: !x 1\n", "1:4 KOS008 tags (!x) are not allowed; put a text that begins with '!' in quotes"),
    "two documents": ("workflow: {id: a}\n---\nb: 1\n", "2:1 KOS006 the file holds more than one document"),
    "deep list": ("a: " + "[" * 5000, "1:35 KOS009 it is nested deeper than 32"),
    "deep map": ("{a: " * 5000, "1:129 KOS009 it is nested deeper than 32"),
    "long text": ("a: " + "x" * 70_000, "1:4 KOS010 a text of 70000 characters, at most 65536 are allowed"),
    "long key": ("x" * 900 + ": 1", "1:1 KOS102"),
    "many values": ("a: [" + "1," * 100_001 + "]", "1:199999 KOS005 the file has more than 100000 values"),
    "a key that is no text": ("? [a]\n: b\nworkflow: 1\n", "1:3 KOS011 a key must be a text; put it in quotes"),
    "a key that stands twice": (
        "workflow:\n  id: a\n  id: b\n  steps: []\n",
        "3:3 KOS011 the key 'id' stands twice, first in line 2",
    ),
    "tab": (
        "workflow:\n\tid: a\n",
        ("2:1 KOS004 this is no YAML: found character '\\t' that cannot start any token; "
        "YAML is indented by spaces, not by tabs"),
    ),
    "NUL": ("workflow:\n  id: a\x00\n", "2:8 KOS003 the character U+0000 does not belong into a text file"),
    "escape": ("a: \x1b[31m\n", "1:4 KOS003 the character U+001B does not belong into a text file"),
    "line separator": ("a: b\u2028c\n", "1:5 KOS003 the character U+2028 does not belong into a text file; write it as an escape in double quotes"),
    "no UTF-8": (b"workflow:\n  id: \xc3\x28\n", "2:7 KOS002 the file is no UTF-8 text: byte 16 is 0xc3; save it as UTF-8"),
    "UTF-16": ("workflow: 1".encode("utf-16"), "1:1 KOS002 the file is no UTF-8 text: byte 0 is 0xff; save it as UTF-8"),
    "unclosed": ("workflow: {id: a", "1:17 KOS004 this is no YAML: expected ',' or '}', but got '<stream end>'; "),
    "not a number": ("workflow: {variables: {x: .nan}}", "1:27 KOS012 .nan is no number that can be stored"),
    "infinite": ("workflow: {variables: {x: -.INF}}", "1:27 KOS012 -.INF is no number that can be stored"),
    "too large": ("workflow: {variables: {x: 1e999}}", "1:27 KOS012 1e999 is larger than any number that can be stored"),
    "too long an integer": (
        "workflow: {variables: {x: 9223372036854775808}}",
        "1:27 KOS012 9223372036854775808 is an integer beyond 64 bits",
    ),
    "nothing": ("", "1:1 KOS100 the file is empty; a file begins with workflow:, templates: or engine:"),
    "only a comment": ("# nothing\n", "1:1 KOS100 the file is empty; a file begins with workflow:, templates: or engine:"),
    "a list": ("- a\n", "1:1 KOS100 the file holds no keys; a file begins with workflow:, templates: or engine:"),
}  # fmt: skip


PARSERS = [text_module._LOADER, yaml.SafeLoader]


@pytest.mark.parametrize("parser", PARSERS, ids=["installed", "python"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_with_its_place(name: str, parser: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_LOADER", parser)
    text, expected = HOSTILE[name]
    found = said(text)
    assert any(line.startswith(expected) for line in found), found


def test_a_long_file_may_end_in_a_deep_list_too() -> None:
    (found,) = said("a: [\n" + "1,\n" * 9_000 + "[" * 5_000)
    assert "KOS009 it is nested deeper than 32" in found


def test_a_file_that_is_too_large_is_not_read() -> None:
    assert said(b"a" * (MAX_BYTES + 1)) == ["1:1 KOS001 the file has 2097153 bytes, at most 2097152 are read"]


def test_the_list_of_problems_is_bounded() -> None:
    text = "workflow:\n  id: w\n" + "".join(f"  k{i}: 1\n" for i in range(5_000))
    assert len(said(text)) == 200


def test_a_problem_in_a_very_long_line_shows_the_part_around_it() -> None:
    text = "workflow: {id: w, description: '" + "x" * 5_000 + "', stepz: 1}\n"
    with pytest.raises(DefinitionError) as caught:
        load(text, "w.yaml")
    shown = str(caught.value).splitlines()
    line, mark = shown[-2], shown[-1]
    assert len(line) < 200
    assert line[mark.index("^") :].startswith("stepz")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_both_parsers_read_the_same_at_the_same_places(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = read(path.read_bytes(), path.name)
    monkeypatch.setattr(text_module, "_LOADER", yaml.SafeLoader)
    slow = read(path.read_bytes(), path.name)
    assert (quick.data, quick.keys, quick.raw) == (slow.data, slow.keys, slow.raw)
    # Where a block ends, one parser counts the lines that follow it and the other does not; its first line is the same.
    assert {p: (m.line, m.column) for p, m in quick.values.items()} == {
        p: (m.line, m.column) for p, m in slow.values.items()
    }


@pytest.mark.parametrize("parser", PARSERS, ids=["installed", "python"])
def test_half_of_a_surrogate_pair_is_refused_by_either_parser(parser: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_LOADER", parser)
    (line,) = said('workflow: {id: w, description: "\\ud800"}\n')
    assert line.startswith(("1:32 KOS003", "1:35 KOS004"))
