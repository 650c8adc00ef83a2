"""Says what there is to review, and cuts it into shares."""

import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from agents import ActionFailed, Agent, Context, action

from .processes import has_modules
from .tools import TOOLS

MAX_FILES: Final = 2_000
MAX_BYTES: Final = 1 << 20
#: Folders of what others have written, or a machine has made. Hidden ones are left out too, and symbolic links.
NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "venv", "env", "build", "dist", "site-packages"})
#: Where the tools run: files by which a project is known.
SETTINGS: Final = ("pyproject.toml", "setup.cfg", "setup.py", "mypy.ini", "pytest.ini", "tox.ini")


class Surveyor(Agent):
    """Knows where the run was started, since that is what a path such as ``.`` is meant from."""

    @classmethod
    def link_settings(cls, settings: Mapping[str, Any], cache_dir: str) -> dict[str, Any]:
        del cache_dir
        return {"started_in": str(Path.cwd()), **settings}

    @action
    async def survey(
        self, context: Context, repository: str, tools: list[str], python: str = "", files_per_share: int = 8
    ) -> dict[str, Any]:
        if files_per_share < 1:
            raise ActionFailed("validation", f"files_per_share is 1 or more, not {files_per_share}", recoverable=False)
        folder = self._find(repository)
        root = _project(folder)
        if unknown := sorted(set(tools) - set(TOOLS)):
            text = f"{unknown[0]!r} is no tool of this review; there are {', '.join(TOOLS)}"
            raise ActionFailed("validation", text, recoverable=False)
        for missing in await has_modules(python, tools, root):
            others = [tool for tool in tools if tool != missing]
            text = (
                f"{missing} is not installed for {python or 'the Python that runs the agents'}: pip install {missing}"
            )
            if others:
                text += f", or review without it: -p 'tools={str(others).replace(chr(39), chr(34))}'"
            raise ActionFailed("dependency", text, recoverable=False)
        files = list(_python_files(root, folder))
        if not files:
            raise ActionFailed("validation", f"there is no Python file in {folder}", recoverable=False)
        if len(files) > MAX_FILES:
            text = (
                f"{folder} has {len(files)} Python files, and {MAX_FILES} are reviewed at once: name a folder inside it"
            )
            raise ActionFailed("validation", text, recoverable=False)
        context.progress(f"{len(files)} files in {folder}")
        shares = []
        for tool in TOOLS:
            mine = [file for file in files if tool != "pytest" or is_test(file)] if tool in tools else []
            for begin in range(0, len(mine), files_per_share):
                part = mine[begin : begin + files_per_share]
                shares.append(
                    {"tool": tool, "root": str(root), "python": python, "files": part, "digest": digest(root, part)}
                )
        lines = sum((root / file).read_bytes().count(b"\n") for file in files)
        return {"lines": lines, "shares": shares}

    def _find(self, repository: str) -> Path:
        if not repository:
            raise ActionFailed("validation", "name a repository: -p repository=PATH", recoverable=False)
        places = [
            Path(self.settings.get("started_in", "."), repository).resolve(),
            Path(__file__).parent.with_name(repository).resolve() if "/" not in repository.strip("./") else None,
        ]
        for place in places:
            if place is not None and place.is_dir():
                return place
        raise ActionFailed("validation", f"there is no folder {places[0]}", recoverable=False)


def _project(folder: Path) -> Path:
    """Return the nearest folder upwards in which tools find their settings; inside one repository, else the folder itself."""
    for place in (folder, *folder.parents):
        if any((place / name).is_file() for name in SETTINGS):
            return place
        if (place / ".git").exists():
            break
    return folder


def _python_files(root: Path, below: Path) -> Iterator[str]:
    for folder, inside, names in os.walk(below):
        inside[:] = sorted(name for name in inside if name not in NOT_OURS and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(".py") and path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_BYTES:
                yield str(path.relative_to(root))


def is_test(file: str) -> bool:
    name = Path(file).name
    return name.startswith("test_") or name.endswith("_test.py")


def digest(root: Path, files: list[str]) -> str:
    """Return a digest of what files hold: whoever inspects them sees whether they are still the same."""
    found = sha256()
    for file in files:
        found.update(sha256((root / file).read_bytes()).digest())
    return found.hexdigest()[:32]
