"""Readers take the running text out of every kind of file, and survive whatever they are given."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.corpus.blocks import Block
from agents.corpus.markup import blocks_of
from agents.corpus.python_source import read_python
from agents.corpus.reading import SUFFIXES, UnreadableError, decode, read
from agents.sentences import is_readable, split
from tests.agents.pdf_writer import pdf_of


def texts(path: str, content: str | bytes, *, docs_only: bool = False) -> list[str]:
    data = content.encode() if isinstance(content, str) else content
    return [line for passage in read(path, data, docs_only=docs_only) for line in passage.text.split("\n")]


MARKED = """\
Title of it
===========

A paragraph with ``code``, **bold** words and a :class:`~pkg.mod.Thing` over
two lines, see `the page <https://example.org>`_ for more.

.. note:: Mind that this is a note about things.

.. code-block:: python

    hidden = 1

Here is an example of the thing::

    also_hidden()

>>> still_hidden
3

* First item of the list stands here
  and goes on.
* Second item of the list stands here.

+-----+-----+
| a   | b   |
+-----+-----+

Args:
    max_restarts (int, optional): How many times it may be
        restarted when it dies.
    name: What it is called by others.

Returns:
    The thing that was made just now.
"""


def test_marks_and_code_are_left_out_of_running_text() -> None:
    found = [block.text for block in blocks_of(MARKED.splitlines())]
    assert found == [
        "A paragraph with code, bold words and a pkg.mod.Thing over two lines, see the page for more.",
        "Mind that this is a note about things.",
        "Here is an example of the thing:",
        "First item of the list stands here and goes on.",
        "Second item of the list stands here.",
        "max_restarts: How many times it may be restarted when it dies.",
        "name: What it is called by others.",
        "The thing that was made just now.",
    ]


def test_a_block_knows_its_heading_and_its_lines() -> None:
    lines = ["# One", "", "First text", "goes on.", "", "## Two", "Second text."]
    assert list(blocks_of(lines)) == [Block(3, "One", "First text goes on.", 4), Block(7, "Two", "Second text.", 7)]


def test_front_matter_links_images_and_comments_of_markdown_are_left_out() -> None:
    text = (
        "---\nkey: value\n---\n\nSee [the docs](http://a.b/c_(d)) and ![logo](x.png) now <!-- not this --> or never.\n"
    )
    assert [block.text for block in blocks_of(text.splitlines())] == ["See the docs and now or never."]


SOURCE = '''\
# Copyright 2020 Somebody, licensed under something, all rights reserved.
"""The module says what it is for in a line."""

TEXT = """not documentation but a long string value"""

class Outer:
    r"""Outer has its own words to say about itself."""

    def method(self) -> None:
        """Method does its part of the work quietly."""
        # A comment that explains why the part is needed.
        # It goes on over a second line.
        x = "# not a comment at all in here"

    def _hidden(self):
        """Private documentation that is for nobody else."""

async def later(
    argument: int = 3,  # trailing comments are left out of it
) -> str:
    \'\'\'Later comes the coroutine with its words.\'\'\'
'''


def test_docstrings_are_found_under_their_names_and_comments_if_wanted() -> None:
    docs = [(block.line, block.heading, block.text) for block in read_python(SOURCE, comments=False)]
    assert docs == [
        (2, "", "The module says what it is for in a line."),
        (7, "Outer", "Outer has its own words to say about itself."),
        (10, "Outer.method", "Method does its part of the work quietly."),
        (21, "later", "Later comes the coroutine with its words."),
    ]
    every = [block.text for block in read_python(SOURCE, comments=True)]
    assert "A comment that explains why the part is needed. It goes on over a second line." in every
    assert "Private documentation that is for nobody else." in every
    assert not any("Copyright" in text or "not a comment" in text or "trailing" in text for text in every)


def test_docstrings_are_those_that_the_compiler_finds() -> None:
    import argparse
    import asyncio.base_events
    import json.decoder
    import tarfile

    for module in (argparse, asyncio.base_events, json.decoder, tarfile):
        assert module.__file__ is not None
        source = Path(module.__file__).read_text()
        tree = ast.parse(source)
        expected = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                documentation = ast.get_docstring(node, clean=False)
                if documentation and len(documentation) > 30 and not getattr(node, "name", "x").startswith("_"):
                    expected.add(node.body[0].lineno)
        found = {block.line for block in read_python(source, comments=True)}
        missing = [line for line in expected if not any(line <= other <= line + 2 for other in found)]
        assert len(missing) <= len(expected) // 50, (module.__name__, missing)


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        (
            "a.go",
            "package x\n// Walk goes through the tree\n// in order of names.\nfunc f() {}\n",
            "Walk goes through the tree in order of names.",
        ),
        (
            "a.c",
            '/*\n * Frees what was held by\n * the list before.\n */\nchar *s = "/* no comment of any kind */";',
            "Frees what was held by the list before.",
        ),
        (
            "a.sh",
            '#!/bin/sh\necho "# not this one here"\n# Stops the server before the backup begins.\n',
            "Stops the server before the backup begins.",
        ),
        (
            "a.sql",
            "-- Keeps one row for each of the runs.\nselect '-- not this either, no';\n",
            "Keeps one row for each of the runs.",
        ),
        ("a.rs", "/// Returns the head of the list, if any.\nfn head() {}\n", "Returns the head of the list, if any."),
    ],
)
def test_comments_of_other_languages_are_read(path: str, content: str, expected: str) -> None:
    assert expected in texts(path, content)
    assert not any("no comment" in text or "not this" in text for text in texts(path, content))


def test_a_pdf_is_read_by_paragraphs() -> None:
    text = "A title of it\n\nThe first paragraph has a sentence that is long enough to fill a line. It ends here.\n\nThe second one follows."
    assert "The second one follows." in " ".join(texts("a.pdf", pdf_of(text)))
    assert read("a.pdf", pdf_of(text * 40), docs_only=False)[-1].heading == "page 4"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("binary.txt", b"\x00\x01\x02 text \x00"),
        ("noise.md", bytes(range(128, 256)) * 40),
        ("empty.pdf", b""),
        (
            "broken.pdf",
            b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nxref\n0 99999\ntrailer << /Root 1 0 R >>",
        ),
        ("cut.pdf", pdf_of("A page of text that is cut off.")[:300]),
        (
            "loop.pdf",
            b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 1 0 R/Kids[1 0 R]/Count 1>>endobj\ntrailer<</Root 1 0 R>>",
        ),
        ("half.txt", b"\xff\xfe\x00"),
    ],
)
def test_a_file_that_is_no_text_is_unreadable_and_nothing_worse(name: str, data: bytes) -> None:
    try:
        found = read(name, data, docs_only=False)
    except UnreadableError:
        found = []
    assert found == []


@pytest.mark.parametrize(
    "html",
    [
        "<p>Text that is never closed and has five words",
        "<<<>>><p>Text that is <b>bold <i>and five words</p></b>",
        "<p>Text & that &#xFFFFFFFF; &bogus; has five words<script>hidden()",
        "<!-- open <p>hidden --><p>Text that has five words" + "<div>" * 5_000,
        "<style>hidden</style><p>Text that has five words</p></p></p></html></script>",
        "<![CDATA[hidden]]><?php hidden ?><p>Text that has five words",
        "<p a='\"><p>Text'>Text that has five words here",
    ],
)
def test_broken_html_gives_the_text_that_is_there(html: str) -> None:
    found = " ".join(texts("a.html", html))
    assert "five words" in found
    assert "hidden" not in found


@settings(max_examples=60)
@given(st.binary(max_size=600), st.sampled_from(sorted(SUFFIXES - {".pdf"})))
def test_no_bytes_make_a_reader_fail(data: bytes, suffix: str) -> None:
    try:
        for passage in read(f"a{suffix}", data, docs_only=False):
            assert passage.line >= 1
            assert passage.text
    except UnreadableError:
        pass


@settings(max_examples=60)
@given(
    st.text(alphabet="ab. \n\t#*`>-_=:[]()|\\'\"<1A!", max_size=300),
    st.sampled_from([".md", ".py", ".html", ".c", ".sql", ".sh"]),
)
def test_no_marks_make_a_reader_fail(text: str, suffix: str) -> None:
    for passage in read(f"a{suffix}", text.encode(), docs_only=False):
        assert 1 <= passage.line <= text.count("\n") + 60
        assert passage.text == passage.text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "*" * 50_000,
        "`" * 50_000,
        "[" * 20_000 + "](" * 20_000,
        "<" * 50_000,
        "_" * 50_000,
        "a:" * 30_000,
        "(" * 50_000,
        '"' * 50_000,
        "\\" * 50_000,
        "'''" + "\\'" * 30_000,
    ],
)
@pytest.mark.parametrize("suffix", [".md", ".py", ".html", ".c"])
@pytest.mark.timeout(10)
def test_long_runs_of_marks_take_no_long_time(text: str, suffix: str) -> None:
    read(f"a{suffix}", text.encode(), docs_only=False)


def test_texts_of_other_encodings_are_read() -> None:
    assert decode("Größe".encode("utf-16")) == "Größe"
    assert decode("Größe".encode("cp1252")) == "Größe"
    assert decode("\ufeffGröße\r\nzwei\rdrei".encode()) == "Größe\nzwei\ndrei"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("One ends. Two ends! Three?", ["One ends.", "Two ends!", "Three?"]),
        ("Use e.g. Ray or i.e. This. Then Dr. Who came.", ["Use e.g. Ray or i.e. This.", "Then Dr. Who came."]),
        ("It is 3.5 metres. The v1.2 file.txt is there.", ["It is 3.5 metres.", "The v1.2 file.txt is there."]),
        ('He said "stop." Then (it ended.) Now.', ['He said "stop."', "Then (it ended.)", "Now."]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(block: str, expected: list[str]) -> None:
    assert split(block) == expected
    for sentence in expected:
        assert split(sentence) == [sentence]


def test_a_readable_sentence_is_whole_and_plain() -> None:
    assert is_readable("The actor is restarted on another node when its process dies.")
    assert is_readable("max_restarts: The most times that the actor is restarted when it dies.")
    for poor in (
        "too short.",
        "The sentence has no stop at its end although it is long enough",
        "Call foo(bar) with x = [1, 2] and see what the result of it is.",
        "See https://example.org for all that is to be said about the matter.",
        "it begins in the middle of something and so it is not whole at all.",
        "Parallel placement bundle scheduling strategy resource node cluster group.",
    ):
        assert not is_readable(poor), poor
