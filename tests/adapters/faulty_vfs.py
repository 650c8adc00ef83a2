"""A file system for SQLite that fails when it is told to."""

from collections.abc import Callable
from itertools import count
from types import TracebackType

import apsw

_names = count(1)

#: Says, of a call about to be made (its name, the file's name), what it fails with; None to let it pass.
Judge = Callable[[str, str], BaseException | None]


def io_error(extended: int = apsw.SQLITE_IOERR) -> apsw.IOError:
    """Return an I/O error of a certain kind."""
    error = apsw.IOError(f"injected {extended}")
    vars(error)["extendedresult"] = extended
    return error


class FaultyVFS(apsw.VFS):
    """Passes everything on, unless ``judge`` objects. ``calls`` lists what was asked: call, file."""

    def __init__(self) -> None:
        self.vfs_name = f"faulty-{next(_names)}"
        self.calls: list[tuple[str, str]] = []
        self.judge: Judge = lambda _call, _file: None
        super().__init__(self.vfs_name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        self.consider("xOpen", _short(name))
        return FaultyFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.consider("xDelete", _short(filename))
        super().xDelete(filename, syncdir)

    def xAccess(self, pathname: str, flags: int) -> bool:
        self.consider("xAccess", _short(pathname))
        return super().xAccess(pathname, flags)

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        """Keep quiet about errors that were ordered."""
        return True

    def consider(self, call: str, file: str) -> None:
        self.calls.append((call, file))
        error = self.judge(call, file)
        if error is not None:
            raise error


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._vfs, self._file = vfs, _short(name)
        super().__init__("", name, flags)

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        return True

    def xRead(self, amount: int, offset: int) -> bytes:
        self._vfs.consider("xRead", self._file)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.consider("xWrite", self._file)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._vfs.consider("xSync", self._file)
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:
        self._vfs.consider("xTruncate", self._file)
        super().xTruncate(newsize)

    def xFileSize(self) -> int:
        self._vfs.consider("xFileSize", self._file)
        return super().xFileSize()

    def xLock(self, level: int) -> None:
        self._vfs.consider("xLock", self._file)
        super().xLock(level)


def _short(name: str | apsw.URIFilename | None) -> str:
    """Return the kind of a file: its name's ending behind ``events``."""
    text = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
    return text.rsplit("/", 1)[-1]
