"""Where sub-workflows and templates are found: a folder of definitions, by default that of the file that names them.
Templates are also brought by installed packages; those of the folder come first.

It is looked at when a run is linked, and only then. What was found is stored with the run, so that a file that is
changed or taken away later changes nothing for it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from kos_runtime.composition.packaged import MAX_BYTES, MAX_FILES, Packaged
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.nearest import nearest
from kos_runtime.definition import DefinitionError, TemplatesDocument, WorkflowDocument, load


class Catalogue(Mapping[str, WorkflowDocument]):
    """See the module. As a mapping: the templates, each as a workflow of its own, by name."""

    def __init__(self, folder: Path | None, packaged: Packaged | None = None) -> None:
        """``folder`` None: there is nothing beside the definition. ``packaged``: what is installed, unless given."""
        self.folder = folder
        self._packaged = packaged
        self._read = False
        self._workflows: dict[str, list[WorkflowDocument]] = {}
        self._templates: dict[str, WorkflowDocument] = {}
        #: Files that cannot be used, with why.
        self.broken: dict[str, str] = {}

    # --- templates

    def __getitem__(self, name: str) -> WorkflowDocument:
        """Return a template.

        Raises:
            KeyError: There is none.
            InvalidDefinition: Two packages bring one of that name.
        """
        self._look()
        found = self._templates.get(name) or self.packaged.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        self._look()
        return iter(dict.fromkeys((*self._templates, *self.packaged.names())))

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def packaged(self) -> Packaged:
        if self._packaged is None:
            self._packaged = Packaged()
        return self._packaged

    def missing(self, name: str) -> str:
        """Say that there is no such template, where it was looked for, and what is near."""
        near = nearest(name, tuple(self))
        hint = f"; did you mean {near!r}?" if near else ""
        where = f"the catalogue {self.folder} and" if self.folder is not None else "the same file and"
        return f"no template {name!r} in {where} the packages that are installed{hint}{self._unread()}"

    # --- workflows

    def has_workflow(self, id: str) -> bool:
        self._look()
        return id in self._workflows

    def workflows(self) -> list[str]:
        """Return the ids of the workflows that are there."""
        self._look()
        return list(self._workflows)

    def workflow(self, id: str, versions: str = "") -> WorkflowDocument:
        """Return the workflow of that id: the newest version within a range such as ``>=1.0 <2.0``.

        A range of one version without an operator is that version, as it was written.

        Raises:
            InvalidDefinition: There is none, or two files hold the same one; the nearest names are in the message.
        """
        self._look()
        found = self._workflows.get(id, [])
        if not found:
            near = nearest(id, tuple(self._workflows))
            known = ", ".join(sorted(self._workflows)[:24]) or "no workflows"
            hint = f"did you mean {near!r}?" if near else f"there are {known}"
            raise InvalidDefinition(f"no workflow {id!r} in the catalogue {self.folder}; {hint}{self._unread()}")
        fitting = [document for document in found if _is_within(version_of(document), versions)]
        if not fitting:
            there = ", ".join(sorted(version_of(document) or "none" for document in found))
            raise InvalidDefinition(
                f"the workflow {id!r} has no version {versions!r} in the catalogue {self.folder}; there is {there}"
            )
        fitting.sort(key=lambda document: _order(version_of(document)))
        newest = fitting[-1]
        same = [d for d in fitting if version_of(d) == version_of(newest)]
        if len(same) > 1:
            files = " and in ".join(sorted(document.source.name for document in same))
            what = (
                f"version {version_of(newest)} of the workflow {id!r}" if version_of(newest) else f"the workflow {id!r}"
            )
            raise InvalidDefinition(f"{what} stands in {files}; one of them has to go")
        return newest

    def _unread(self) -> str:
        broken = {**self.broken, **(self._packaged.broken if self._packaged is not None else {})}
        return "".join(f"; {file} was left out: {why}" for file, why in list(broken.items())[:3])

    def _look(self) -> None:
        if self._read:
            return
        self._read = True
        if self.folder is None:
            return
        paths = sorted(path for path in self.folder.iterdir() if path.suffix in {".yaml", ".yml"} and path.is_file())
        if len(paths) > MAX_FILES:
            raise InvalidDefinition(
                f"the catalogue {self.folder} holds {len(paths)} definitions, at most {MAX_FILES}; name another by --catalogue"
            )
        for path in paths:
            try:
                if path.stat().st_size > MAX_BYTES:
                    self.broken[path.name] = "it is larger than 2 MiB"
                    continue
                document = load(path.read_bytes(), str(path))
            except DefinitionError as error:
                first = error.problems[0]
                self.broken[path.name] = f"{first.line}:{first.column} {first.message}"
            except OSError as error:
                self.broken[path.name] = str(error.strerror)
            else:
                self._take(document)

    def _take(self, document: object) -> None:
        if isinstance(document, WorkflowDocument):
            self._workflows.setdefault(document.id, []).append(document)
        elif isinstance(document, TemplatesDocument):
            for name in document.content:
                self._templates.setdefault(name, document.workflow(name))


def catalogue_of(document: WorkflowDocument | None, named: str | None = None) -> Catalogue:
    """Return the catalogue of a definition: the folder that was named, else that of its file, or where we are.

    Raises:
        NotFound: The folder that was named is not there.
    """
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise NotFound(f"the catalogue {named} is no folder")
        return Catalogue(folder)
    if document is None:
        return Catalogue(Path())
    name = document.source.name
    beside = Path(name).parent
    return Catalogue(beside if name != "-" and Path(name).is_file() and beside.is_dir() else None)


def version_of(document: WorkflowDocument) -> str:
    return str(document.content.get("version", ""))


def _is_within(version: str, versions: str) -> bool:
    """Say whether a version is in a range.

    Raises:
        InvalidDefinition: The range is none.
    """
    parts = versions.replace(",", " ").split()
    if not parts:
        return True
    if len(parts) == 1 and not set(parts[0]) & set("<>=!~*^"):
        return version == parts[0]
    try:
        wanted = SpecifierSet(",".join(parts))
    except InvalidSpecifier as error:
        raise InvalidDefinition(f"{versions!r} is no range of versions; write for example '>=1.0 <2.0'") from error
    try:
        return wanted.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _order(version: str) -> tuple[bool, Version]:
    """Order versions; what is none by the rules comes before all that are."""
    try:
        return True, Version(version)
    except InvalidVersion:
        return False, Version("0")
