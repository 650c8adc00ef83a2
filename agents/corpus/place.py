"""A corpus by its name: ``python:PACKAGE``, or the path of a folder or a file."""

from pathlib import Path
from typing import Final

from agents.corpus.files import Listing, list_file, list_folder
from agents.corpus.package import list_package

#: What is searched when nothing else is said: the documentation of Ray itself.
DEFAULT: Final = "python:ray"
_PYTHON: Final = "python:"


def canonical(corpus: str) -> str:
    """Return a corpus's name as it is recorded: a path absolute, since an agent's process may stand elsewhere.

    Raises:
        ValueError: It is empty, or holds what no path may hold.
    """
    if "\0" in corpus:
        raise ValueError(f"the corpus {corpus[:80]!r} is no path")
    if not corpus.strip():
        raise ValueError("the corpus is empty; give the path of a folder or a file, or python:PACKAGE")
    if corpus.startswith(_PYTHON):
        return corpus
    return str(Path(corpus).expanduser().absolute())


def listing_of(corpus: str) -> Listing:
    """Return the files of a corpus.

    Raises:
        ValueError: There is none, or nothing in it can be read; the message says what to do.
    """
    corpus = canonical(corpus)
    if corpus.startswith(_PYTHON):
        return list_package(corpus.removeprefix(_PYTHON))
    root = Path(corpus)
    try:
        if root.is_file():
            listing = list_file(root)
        elif root.is_dir():
            listing = list_folder(root.resolve())
        else:
            hint = (
                "; a package is written python:NAME"
                if "/" not in corpus.removeprefix(str(Path.cwd())).strip("/")
                else ""
            )
            raise ValueError(f"the corpus {corpus} does not exist{hint}")
    except OSError as error:
        raise ValueError(f"the corpus {corpus} cannot be read: {error.strerror or error}") from error
    if not listing.files:
        note = listing.note()
        raise ValueError(
            f"the corpus {corpus} has no file that can be read (text, Markdown, HTML, PDF or source)"
            + (f"; left out: {note}" if note else "; the folder is empty")
        )
    return listing
