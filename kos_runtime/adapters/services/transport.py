"""The way out: connections to addresses that were looked at, and to no others.

``httpcore2`` keeps the connections and speaks HTTP and TLS (certificates are checked against the host's name, not the
address); what is ours is the backend that opens sockets. No proxy and no variable of the environment changes the way.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import httpcore2
import httpx2

from kos_runtime.adapters.services.addresses import check_address


class NameUnknown(Exception):
    """A host's name leads to no address. Nothing was sent. ``passing``: the name server itself did not answer."""

    def __init__(self, host: str, reason: str, *, passing: bool) -> None:
        super().__init__(host, reason)
        self.host, self.reason, self.passing = host, reason, passing

    def __str__(self) -> str:
        return f"the name {self.host} cannot be resolved: {self.reason}"


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections. ``encrypted`` says that TLS will be spoken on them."""

    def __init__(self, allowed: Sequence[str], *, encrypted: bool) -> None:
        self._allowed = tuple(allowed)
        self._encrypted = encrypted
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as the interface has it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        for address in addresses:
            check_address(host, address, self._allowed, encrypted=self._encrypted)
        failure: Exception | None = None
        for address in addresses[:4]:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            passing = error.errno == socket.EAI_AGAIN
            raise NameUnknown(host, error.strerror or "unknown", passing=passing) from error
        except (UnicodeError, OSError) as error:
            raise NameUnknown(host, str(error), passing=False) from error
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        if not addresses:
            raise NameUnknown(host, "it has no address", passing=False)
        return addresses

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("no service lies at a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Carries requests over guarded connections; failures are those of ``httpcore2``."""

    def __init__(
        self, allowed: Sequence[str], *, context: ssl.SSLContext | None = None, connections: int = 100
    ) -> None:
        tls = context if context is not None else ssl.create_default_context()
        self._pools = {
            scheme: httpcore2.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=connections,
                max_keepalive_connections=20,
                keepalive_expiry=15.0,
                network_backend=GuardedBackend(allowed, encrypted=scheme == "https"),
            )
            for scheme in ("https", "http")
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.scheme not in self._pools:
            raise httpcore2.UnsupportedProtocol(f"{url.scheme}:// is no way to a service")
        answer = await self._pools[url.scheme].handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()
