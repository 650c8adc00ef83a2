"""A run as a file: its records with their hashes, its salt, its plan, its link and every value that it keeps outside.

One JSON object a line: a head, the records in order, the blobs, and an end with a digest over all bytes before it. A file is
read twice, once to check everything, and only then to store it. ``.gz`` files are compressed.
"""

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final, cast

from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.client.gone import went
from kos_runtime.client.reading import Reading
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.chain import SALT_BYTES
from kos_runtime.core.errors import InvalidDefinition, KosError, NotFound, StoreError
from kos_runtime.core.event import rebuild
from kos_runtime.core.identity import is_run_id, run_stream
from kos_runtime.core.machine import UnknownMachine
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import from_plain
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import PAYLOAD_LIMIT, Record
from kos_runtime.core.verify import first_tip, record_fault
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.blobs import blobs_of
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.state import Run

FORMAT: Final = 1
_NOT_OURS: Final = "this is no file that kos export has written"
#: A line holds one value at most, in base64, and a little more.
MAX_LINE: Final = PAYLOAD_LIMIT * 4 // 3 + 1_000_000


class DamagedExport(InvalidDefinition):
    """A file that is no whole export: the first bad line, and what is wrong with it."""

    def __init__(self, file: str, line: int, what: str) -> None:
        super().__init__(file, line, what)
        self.file, self.line, self.what = file, line, what

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; nothing was stored"


@dataclass(slots=True)
class Export:
    """What a good file holds; the blobs stay in the file."""

    run: str
    store: str
    partition: int
    salt: bytes
    records: list[Record] = field(default_factory=list)
    #: digest → the line on which it stands.
    blobs: dict[str, int] = field(default_factory=dict)
    state: Run | None = None
    #: Blobs that the records mention, apart from the plan and the link.
    mentioned: list[str] = field(default_factory=list)


# --- out --------------------------------------------------------------------------------------------


def export_lines(reading: Reading, run: str) -> Iterator[str]:
    """Yield a run's export, line by line, each with its end.

    Raises:
        InvalidDefinition: Its payloads were purged or archived.
        NotFound: A value that it mentions is gone.
    """
    stream = run_stream(run)
    salt = reading.log.salt(stream)
    row = reading.log.run(run)
    if not salt:
        raise InvalidDefinition(went(row) if row is not None else f"run {run} has no payloads")
    records = list(reading.records(run))
    store, partition = reading.log.origin(stream) or (reading.log.store_id, reading.log.partition)
    blobs: dict[str, None] = {}
    links: list[str] = []
    for record in records:
        for event in rebuild(record.names, reading.codec.unpack(record.payload)):
            if isinstance(event, ev.RunCreated):
                blobs[event.plan] = None
            elif isinstance(event, ev.RunLinked):
                blobs[event.link] = None
                links.append(event.link)
            elif isinstance(event, ev.PlanRevised):
                blobs.update(dict.fromkeys((event.plan, event.link)))
                links.append(event.link)
            blobs.update(dict.fromkeys(blobs_of(event)))
    blobs.update(dict.fromkeys(_of_children(reading, links)))
    digest = sha256()
    lines = 1

    def line(value: dict[str, Any]) -> str:
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"
        digest.update(text.encode())
        return text

    yield line(
        {
            "kos_export": FORMAT, "run": run, "store": store, "partition": partition, "salt": salt.hex(),
            "records": len(records), "blobs": len(blobs), "status": row.status if row else "",
        }
    )  # fmt: skip
    for record in records:
        lines += 1
        yield line(
            {
                "seq": record.position, "time": record.time, "names": record.names, "causation": record.causation,
                "correlation": record.correlation, "digest": record.digest.hex(), "hash": record.hash.hex(),
                "payload": base64.b64encode(record.payload).decode(),
            }
        )  # fmt: skip
    for blob in blobs:
        lines += 1
        try:
            data = reading.blobs.get(blob)
        except (KeyError, StoreError) as error:
            raise NotFound(f"run {run} cannot be exported: its value {blob} is gone or damaged: {error}") from error
        yield line({"blob": blob, "data": base64.b64encode(data).decode()})
    yield json.dumps({"end": lines, "sha256": digest.hexdigest()}, separators=(",", ":")) + "\n"


def _of_children(reading: Reading, links: list[str]) -> Iterator[str]:
    """Yield the plans and links of the sub-workflows that a run may call: a fork of it calls them again."""
    seen: set[str] = set()
    while links:
        link = links.pop()
        if link in seen:
            continue
        seen.add(link)
        try:
            children = from_plain(reading.codec.unpack(reading.blobs.get(link)), Link).children
        except (KeyError, ValueError, StoreError):
            # It is told as what is missing by whoever writes the values.
            continue
        for child in children.values():
            yield child.plan
            yield child.link
            links.append(child.link)


# --- in ---------------------------------------------------------------------------------------------


def opened(file: str) -> IO[bytes]:
    """Open an export for reading, compressed or not.

    Raises:
        NotFound: It cannot be read.
    """
    try:
        if Path(file).suffix == ".gz":
            return cast("IO[bytes]", gzip.open(file, "rb"))
        return Path(file).open("rb")
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}") from error


def check(file: str, codec: MsgpackCodec) -> Export:
    """Read a whole export and check all of it.

    Raises:
        DamagedExport: At the first line that is not what was exported.
        NotFound: The file cannot be read.
    """
    checking = _Checking(file, codec)
    with opened(file) as source:
        try:
            return checking.read(source)
        except EOFError as error:
            raise checking.cut() from error
        except gzip.BadGzipFile as error:
            raise DamagedExport(
                file, 1, f"is not compressed, though the file's name ends in .gz: {_NOT_OURS}"
            ) from error
        except (OSError, zlib.error) as error:
            raise DamagedExport(file, max(checking.line, 1), f"cannot be read: {error}") from error


class _Checking:
    """One pass over a file."""

    def __init__(self, file: str, codec: MsgpackCodec) -> None:
        self._file, self._codec = file, codec
        self.line = 0
        self._digest = sha256()

    def read(self, source: IO[bytes]) -> Export:
        head = self._next(source)
        export, count, blobs = self._head(head)
        tip = first_tip(export.salt, None, export.store, export.partition)
        for _ in range(count):
            record, tip = self._record(self._next(source), export, tip)
            export.records.append(record)
        plan_line = self.line
        contents: dict[str, bytes] = {}
        wanted = self._wanted(export)
        for _ in range(blobs):
            digest, data = self._blob(self._next(source))
            export.blobs[digest] = self.line
            if digest in wanted:
                contents[digest] = data
        self._end(source)
        self._fold(export, contents, plan_line)
        return export

    def _fail(self, what: str, line: int = 0) -> DamagedExport:
        return DamagedExport(self._file, line or self.line, what)

    def cut(self) -> DamagedExport:
        """Say that the file ends too early."""
        return self._fail("the file is cut: it ends here, before its end was told; export the run again")

    def _next(self, source: IO[bytes]) -> dict[str, Any]:
        self.line += 1
        text = source.readline(MAX_LINE + 1)
        if not text and self.line == 1:
            raise self._fail("the file is empty")
        if len(text) > MAX_LINE:
            raise self._fail("is longer than any line may be" if self.line > 1 else _NOT_OURS)
        if self.line == 1 and b"kos_export" not in text:
            raise self._fail(_NOT_OURS)
        if not text.endswith(b"\n"):
            raise self.cut()
        try:
            value = json.loads(text)
        except UnicodeDecodeError as error:
            raise self._fail("is no text") from error
        except (ValueError, RecursionError) as error:
            raise self._fail(f"is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise self._fail("is no JSON object")
        if "end" not in value:
            self._digest.update(text)
        return value

    def _get(self, value: dict[str, Any], key: str, kind: type) -> Any:
        found = value.get(key)
        if type(found) is not kind:
            raise self._fail(f"has no {key!r}, or it is no {'number' if kind is int else 'text'}")
        return found

    def _bytes(self, value: dict[str, Any], key: str, *, hexadecimal: bool = False, size: int = 0) -> bytes:
        text = self._get(value, key, str)
        try:
            found = bytes.fromhex(text) if hexadecimal else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error) as error:
            raise self._fail(f"{key!r} is not encoded as it ought to be") from error
        if size and len(found) != size:
            raise self._fail(f"{key!r} has {len(found)} bytes, not {size}")
        return found

    def _head(self, value: dict[str, Any]) -> tuple[Export, int, int]:
        if "kos_export" not in value:
            raise self._fail(_NOT_OURS)
        if value["kos_export"] != FORMAT:
            raise self._fail(f"is an export of format {value['kos_export']!r}; this version reads {FORMAT}")
        run = self._get(value, "run", str)
        if not is_run_id(run):
            raise self._fail(f"{run!r:.80} is no run id")
        salt = self._bytes(value, "salt", hexadecimal=True, size=SALT_BYTES)
        export = Export(run, self._get(value, "store", str), self._get(value, "partition", int), salt)
        count, blobs = self._get(value, "records", int), self._get(value, "blobs", int)
        if count < 1 or blobs < 0:
            raise self._fail("tells of no records")
        return export, count, blobs

    def _record(self, value: dict[str, Any], export: Export, tip: Any) -> tuple[Record, Any]:
        if "seq" not in value:
            raise self._fail(f"is not seq {tip[0] + 1}, which ought to stand here")
        record = Record(
            0,
            run_stream(export.run),
            self._get(value, "seq", int),
            0,
            self._get(value, "time", int),
            self._get(value, "names", str),
            self._get(value, "causation", str),
            self._get(value, "correlation", str),
            self._bytes(value, "payload"),
            self._bytes(value, "digest", hexadecimal=True, size=32),
            self._bytes(value, "hash", hexadecimal=True, size=32),
        )
        what, _ = record_fault(tuple(record), tip, 0)
        if what is not None:
            raise self._fail(f"seq {record.position} {what}")
        return record, (record.position, record.hash, *tip[2:])

    def _wanted(self, export: Export) -> set[str]:
        """Read what the records say, and return the digests of the plan and the link."""
        wanted: set[str] = set()
        for number, record in enumerate(export.records, 2):
            try:
                events = rebuild(record.names, self._codec.unpack(record.payload))
                for event in events:
                    if isinstance(event, ev.RunCreated):
                        wanted.add(event.plan)
                    elif isinstance(event, ev.RunLinked):
                        wanted.add(event.link)
                    elif isinstance(event, ev.PlanRevised):
                        wanted.update((event.plan, event.link))
                    export.mentioned.extend(blobs_of(event))
            except (ValueError, TypeError, IndexError, AttributeError) as error:
                raise self._fail(f"seq {record.position} cannot be read: {error}", number) from error
        return wanted

    def _blob(self, value: dict[str, Any]) -> tuple[str, bytes]:
        digest, data = self._get(value, "blob", str), self._bytes(value, "data")
        if sha256(data).hexdigest() != digest:
            raise self._fail(f"the value {digest:.12} does not hash to its name")
        if len(data) > PAYLOAD_LIMIT:
            raise self._fail(f"the value {digest:.12} is larger than any may be")
        return digest, data

    def _end(self, source: IO[bytes]) -> None:
        expected = self._digest.hexdigest()
        value = self._next(source)
        if value.get("end") != self.line - 1:
            raise self._fail(f"is not the end, which ought to stand here, behind {self.line - 1} lines")
        if value.get("sha256") != expected:
            raise self._fail("its digest is not that of the lines before it: one of them was changed")
        if source.read(1):
            self.line += 1
            raise self._fail("stands behind the end")

    def _fold(self, export: Export, contents: dict[str, bytes], last: int) -> None:
        missing = [digest for digest in export.mentioned if digest not in export.blobs]
        if missing:
            raise self._fail(f"the value {missing[0]:.12}, which the records mention, is not in the file", last)
        make_installed_known()
        state = export.state = Run(export.run, export.store, self._codec)
        for number, record in enumerate(export.records, 2):
            try:
                for event in rebuild(record.names, self._codec.unpack(record.payload)):
                    if isinstance(event, ev.RunCreated | ev.PlanRevised):
                        program = Program(from_plain(self._codec.unpack(contents[event.plan]), Plan), event.plan)
                        state.plans[event.plan] = program
                        state.program = state.program or program
                    if isinstance(event, ev.RunLinked | ev.PlanRevised):
                        link = from_plain(self._codec.unpack(contents[event.link]), Link)
                        state.links[event.link] = link
                        state.link = state.link or link
                    if isinstance(event, ev.MachineOpened):
                        make_installed_known()
                    evolve(state, event)
            except KeyError as error:
                raise self._fail(f"seq {record.position} needs {error}, which is not there", number) from error
            except (KosError, ValueError, TypeError, AttributeError, UnknownMachine) as error:
                raise self._fail(f"seq {record.position} cannot be folded: {error}", number) from error
            state.position = record.position
            state.todo.clear()


def blob_data(file: str, export: Export) -> Iterator[bytes]:
    """Yield the contents of an export's blobs, from a file that was checked."""
    wanted = set(export.blobs.values())
    with opened(file) as source:
        for number, text in enumerate(source, 1):
            if number in wanted:
                yield base64.b64decode(json.loads(text)["data"])
