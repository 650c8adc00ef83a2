"""The owner's door: a Unix socket in the store's folder, one message at a time, as bounded msgpack frames.

The socket is made with mode 0600 inside a folder of mode 0700, so whoever may open it may read the store anyway.
"""

import contextlib
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from kos_runtime.adapters.codec import DoorCodec
from kos_runtime.core.errors import ConnectionLost, InvalidDefinition, Unreachable
from kos_runtime.ports.control import Message

#: No message is larger than this many bytes: inputs above it go through the blob store.
MAX_FRAME = 64 * 1024 * 1024
#: So many clients are served at a time; one more is told that the owner is busy.
MAX_CLIENTS = 256
#: A message that has begun must be whole after so many seconds.
FRAME_S = 30.0
_LONGEST_PATH = 100
_HEADER = struct.Struct(">I")
_CODEC = DoorCodec()


def socket_path(folder: str | Path) -> str:
    """Return where a store's socket is. A path too long for the system lies in the temporary folder instead."""
    path = Path(folder).resolve() / "owner.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return str(path)
    from hashlib import sha256

    name = sha256(os.fsencode(path)).hexdigest()[:24]
    return str(Path(tempfile.gettempdir()) / f"kos-{os.getuid()}-{name}.sock")


def _packed(message: Message) -> bytes:
    """Return a message as it is sent.

    Raises:
        ValueError: It is no plain data, or too large.
    """
    data = _CODEC.pack(message)
    if len(data) > MAX_FRAME:
        raise ValueError(f"a message of {len(data)} bytes, at most {MAX_FRAME} are sent")
    return _HEADER.pack(len(data)) + data


def _receive(connection: socket.socket) -> Message:
    head = _exactly(connection, 1)
    connection.settimeout(FRAME_S)
    size = _HEADER.unpack(head + _exactly(connection, _HEADER.size - 1))[0]
    if size > MAX_FRAME:
        raise ValueError(f"a message of {size} bytes, at most {MAX_FRAME} are taken")
    message = _CODEC.unpack(_exactly(connection, size))
    if not isinstance(message, dict):
        raise ValueError("a message must be an object")  # noqa: TRY004 - of data from outside
    return message


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise EOFError("the other side closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _is_over(connection: socket.socket) -> bool:
    """Say whether the other end was closed while nobody asked anything."""
    try:
        connection.settimeout(0)
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _peer(connection: socket.socket) -> int:
    """Return the user at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class ControlClient:
    """See ``kos_runtime.ports.control.ControlChannel``. One connection; one thread at a time."""

    def __init__(self, folder: str | Path) -> None:
        self.path = socket_path(folder)
        self._store_user = Path(folder).stat().st_uid if Path(folder).exists() else os.geteuid()
        self._connection: socket.socket | None = None

    def request(self, message: Message, timeout: float = 30.0) -> Message:
        try:
            packed = _packed(message)
        except ValueError as error:
            raise InvalidDefinition(f"it cannot be handed to the store's owner: {error}") from error
        try:
            connection = self._connect(timeout)
            connection.settimeout(timeout)
            connection.sendall(packed)
            return _receive(connection)
        except TimeoutError as error:
            self.close()
            raise Unreachable(f"the owner of the store gave no answer within {timeout:g} s") from error
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise ConnectionLost(f"nobody answers for the store ({error})") from error

    def _connect(self, timeout: float) -> socket.socket:
        if self._connection is not None and _is_over(self._connection):
            # Whoever answered has ended since; another owner may listen now. Nothing was sent yet.
            self.close()
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(timeout)
            try:
                connection.connect(self.path)
                self._recognise(connection)
            except OSError:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _recognise(self, connection: socket.socket) -> None:
        """Refuse a listener of another user: a socket in the temporary folder may have been made by anyone."""
        listener = _peer(connection)
        if listener not in {os.geteuid(), self._store_user}:
            raise PermissionError(f"{self.path} is served by user {listener}, not by the store's")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ControlServer:
    """Serves a handler on a store's socket, a thread for each client. ``handler`` must not raise for bad messages."""

    def __init__(self, folder: str | Path, handler: Callable[[Message], Message]) -> None:
        self.path = socket_path(folder)
        self._handler = handler
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        with contextlib.suppress(FileNotFoundError):
            # Only the owner, who holds the store's lock, gets here: what lies there belongs to nobody.
            Path(self.path).unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._listener.bind(self.path)
        finally:
            os.umask(mask)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="kos-control", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="kos-client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            if not self._places.acquire(blocking=False):
                message = f"busy: {MAX_CLIENTS} clients are served already; try again later"
                connection.sendall(_packed({"ok": False, "code": "busy", "message": message}))
                return
            try:
                self._converse(connection)
            finally:
                self._places.release()

    def _converse(self, connection: socket.socket) -> None:
        while True:
            connection.settimeout(None)
            try:
                packed = _packed(self._handler(_receive(connection)))
            except ValueError as error:
                connection.sendall(_packed({"ok": False, "code": "bad_request", "message": str(error)}))
                return
            connection.settimeout(FRAME_S)
            connection.sendall(packed)

    def close(self) -> None:
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()
