"""The documentation inside an installed package: which of its files count.

An installed distribution has a record of its files with their digests, so nothing need be read to tell its state.
Without one (the standard library, a package that is being worked on) the files themselves are hashed. Nothing of the
package is imported.
"""

# ruff: noqa: SIM905 - a list of words reads better as text

import csv
import re
import sys
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path, PurePosixPath
from typing import Final

from agents.corpus.files import CorpusFile, Listing, hash_files, list_folder
from kos_runtime.core.nearest import nearest

_NAME: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
#: Folders that hold no documentation of the package itself.
_FOREIGN: Final = frozenset(
    "test tests testing thirdparty_files thirdparty third_party vendor vendored vendors extern build dist static"
    " node_modules licenses examples tuned_examples __pycache__".split()
)
_DOCUMENTS: Final = frozenset((".md", ".rst", ".txt"))
_IMPORT: Final = re.compile(r"^from (\.*)([\w.]+) import ", re.MULTILINE)
_LARGEST_INIT: Final = 200_000
_LEGAL: Final = re.compile(
    r"licen[cs]e|copying|notice|authors|top_level|requirements|entry_points|sources|changelog", re.IGNORECASE
)


def list_package(name: str) -> Listing:
    """Return the files of an installed package that hold its documentation: public modules and documents.

    Args:
        name: What is imported or what is installed: ``ray``, ``ray.serve``, ``import-linter``.

    Raises:
        ValueError: There is no such package, or nothing in it is documentation.
    """
    if not _NAME.match(name) or ".." in name:
        raise ValueError(f"python:{name} names no package; write it as it is imported, for example python:ray")
    top, _, inner = name.partition(".")
    listing = _recorded(top) or _found(top)
    if listing is None:
        raise ValueError(_unknown(name))
    if inner:
        prefix = name.replace(".", "/")
        listing.files = [f for f in listing.files if f.path.startswith(f"{prefix}/") or f.path == f"{prefix}.py"]
    public = [file for file in listing.files if _is_public(file.path)]
    offered = _offered(public)
    public += [file for file in listing.files if file.path in offered and not _is_public(file.path)]
    listing.files = public or [file for file in listing.files if file.path.endswith(".py")]
    listing.left_out.clear()
    listing.docs_only = True
    if not listing.files:
        raise ValueError(f"the package {name!r} has no documentation that can be read: no Python source, no text files")
    if any(not file.digest for file in listing.files):
        return hash_files(listing)
    return listing.bounded()


def _recorded(name: str) -> Listing | None:
    """The files by a distribution's own record; None when it has none, or does not list the package's source."""
    try:
        distribution = metadata.distribution(name)
        record = distribution.read_text("RECORD")
    except (metadata.PackageNotFoundError, ValueError, OSError):
        return None
    if not record:
        return None
    listing = Listing()
    for row in csv.reader(record.splitlines()):
        if len(row) == 3 and row[1].startswith("sha256=") and _may_count(row[0]):
            where = str(distribution.locate_file(row[0]))
            listing.files.append(CorpusFile(row[0], where, int(row[2] or 0), row[1].removeprefix("sha256=")))
    own = [file for file in listing.files if file.path.startswith(f"{name}/")]
    if own:
        listing.files = own + [file for file in listing.files if file.path.endswith(".dist-info/METADATA")]
    return listing if any(file.path.endswith(".py") for file in listing.files) else None


def _found(name: str) -> Listing | None:
    """The files where Python would import the package from."""
    try:
        spec = util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    listing = Listing()
    for place in spec.submodule_search_locations or ():
        root = Path(place)
        for file in list_folder(root).files if root.is_dir() else ():
            listing.files.append(CorpusFile(f"{name}/{file.path}", file.where, file.size, file.digest))
    if spec.origin and spec.origin.endswith(".py") and not spec.submodule_search_locations:
        where = Path(spec.origin)
        listing.files.append(CorpusFile(where.name, str(where), where.stat().st_size, ""))
    return listing


def _may_count(path: str) -> bool:
    if path.startswith(("../", "/")) or "thirdparty_files" in path:
        return False
    return path.endswith((".py", ".md", ".rst", ".txt", ".dist-info/METADATA"))


def _is_public(path: str) -> bool:
    parts = PurePosixPath(path).parts
    if parts[-1] == "METADATA":
        return True
    if any(part in _FOREIGN or part.startswith("_") or part.endswith(".dist-info") for part in parts[1:-1]):
        return False
    name, suffix = PurePosixPath(path).stem, PurePosixPath(path).suffix
    if suffix in _DOCUMENTS:
        return not _LEGAL.search(name)
    if suffix != ".py" or name == "conftest" or name.startswith("test_") or name.endswith("_test"):
        return False
    return not name.startswith("_") or name in {"__init__", "__main__"} or len(parts) == 1


def _offered(public: Iterable[CorpusFile]) -> set[str]:
    """Return the files of private modules from which a package's own ``__init__`` takes what it offers."""
    found: set[str] = set()
    for file in public:
        # Only near the top: what a package offers is offered there, and reading every __init__ would take long.
        if not file.path.endswith("/__init__.py") or file.path.count("/") > 2 or file.size > _LARGEST_INIT:
            continue
        try:
            text = Path(file.where).read_text("utf-8", "replace")
        except OSError:
            continue
        package = file.path.removesuffix("/__init__.py").replace("/", ".")
        for dots, module in _IMPORT.findall(text):
            whole = f"{'.'.join(package.split('.')[: 1 - len(dots) or None])}.{module}" if dots else module
            found.update((f"{whole.replace('.', '/')}.py", f"{whole.replace('.', '/')}/__init__.py"))
    return {path for path in found if "_internal" not in path and not _FOREIGN.intersection(path.split("/"))}


def _unknown(name: str) -> str:
    known = {*sys.stdlib_module_names, *(d.metadata["Name"] or "" for d in metadata.distributions())}
    known.update(module for module in metadata.packages_distributions() if not module.startswith("_"))
    near = nearest(name, (other for other in known if other and other[:1].lower() == name[:1].lower()))
    near = near or nearest(name, known)
    hint = f"did you mean python:{near}?" if near else "install it, or name a folder instead"
    return f"no package {name!r} is installed here; {hint}"
