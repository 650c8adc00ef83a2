"""Imports modules from the folder of a definition, and keeps folders that hold modules of one name apart.

A target is ``module:Class``, or ``module:Class@FOLDER`` for one that was found in a folder: so it stands in the link,
and so every process that is to host the agent finds it, wherever that process was started.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

#: What was imported from which folder, so that it is imported once.
_imported: dict[tuple[str, str], ModuleType] = {}


def target_in(folder: Path, target: str) -> str:
    """Return ``module:Class@FOLDER``."""
    return f"{target}@{folder}"


def lies_in(folder: Path, module: str) -> bool:
    """Say whether a folder holds a module, as a file or as a package, without importing anything."""
    path = folder.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def import_module(name: str, folder: str = "", *, here: bool = True) -> ModuleType:
    """Import a module: from ``folder`` where one is named and still holds it, else as Python finds it.

    The folder goes to the front of the path, so that a module finds what lies beside it. Two projects may each have a
    ``helpers``: what the folder has under the name of a module that came from another project's is imported anew, and
    classes that came from there keep working. Without a folder, ``here`` says whether the working directory counts as a
    place to import from.

    Raises:
        BaseException: Whatever the module raises.
    """
    if not folder or not lies_in(Path(folder), name):
        if here and "" not in sys.path and "." not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(name)
    known = _imported.get((folder, name))
    if known is not None:
        return known
    _make_way(folder)
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    if not _is_from(module, folder):
        raise ImportError(f"a module of this name is in use already, from {_origin(module)}; give it another name")
    _imported[folder, name] = module
    return module


def _make_way(folder: str) -> None:
    """Forget modules of other projects whose names this one has as well."""
    others = {other for other, _ in _imported if other != folder}
    # A list first: other threads may be importing.
    tops = {name.partition(".")[0] for name in list(sys.modules)} - {__name__.partition(".")[0]}
    for top in tops:
        module = sys.modules.get(top)
        if module is None or _is_from(module, folder) or not lies_in(Path(folder), top):
            continue
        if any(_is_from(module, other) and lies_in(Path(other), top) for other in others):
            for name in [name for name in list(sys.modules) if name == top or name.startswith(f"{top}.")]:
                del sys.modules[name]


def _is_from(module: ModuleType, folder: str) -> bool:
    origin = _origin(module)
    return bool(origin) and Path(origin).resolve().is_relative_to(folder)


def _origin(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "")


__all__ = ["import_module", "lies_in", "target_in"]
