"""A small HTTP/1.1 client for servers on the loopback interface, so that asking costs next to nothing of the cores."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Line:
    """One kept-alive connection; one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: Any) -> Any:
        return await self.ask("POST", path, json.dumps(body).encode())

    async def get(self, path: str) -> Any:
        return await self.ask("GET", path, b"")

    async def ask(self, method: str, path: str, body: bytes) -> Any:
        """Return the answer's JSON; `OSError` when the connection failed, `RuntimeError` for a status that is no success."""
        if self._writer is None or self._reader is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\ncontent-length: {len(body)}\r\n"
        if body:
            head += "content-type: application/json\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        try:
            status, answer = await self._answer(self._reader)
        except asyncio.IncompleteReadError as cut:
            self.close()
            raise ConnectionResetError("the server closed the connection") from cut
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path} answered {status}: {answer[:500].decode(errors='replace')}")
        return json.loads(answer) if answer else None

    @staticmethod
    async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        status = int(head[0].split(" ")[1])
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
            return status, body
        return status, await reader.readexactly(int(fields.get("content-length", "0")))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
