"""One request and its answer, within bounds; and what kind of failure each way of going wrong is."""

import asyncio
import email.utils
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import httpcore2
import httpx2

from kos_runtime.adapters.redaction import redact_text
from kos_runtime.adapters.services.addresses import AddressRefused
from kos_runtime.adapters.services.transport import NameUnknown
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed

#: A service that names a time to come again is believed up to so many milliseconds.
LONGEST_RETRY_AFTER_MS: Final = 3_600_000
#: Characters of a failed answer's body that stand in the message.
_EXCERPT: Final = 300
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class CallFailed(ActionFailed):
    """A call of one provider failed.

    ``acted`` says whether it may have acted: another provider is asked only where it has not, or where asking twice does
    no harm. ``elsewhere`` says whether another may do better at all.
    """

    def __init__(
        self,
        kind: ErrorType,
        message: str,
        *,
        acted: bool,
        elsewhere: bool = True,
        recoverable: bool | None = None,
        **details: Any,
    ) -> None:
        # What may have been done must not be repeated where a step says ``delivery: at_most_once``.
        unknown = {"outcome_unknown": True} if acted else {}
        super().__init__(kind, message, recoverable=recoverable, details={**details, **unknown})
        self.acted, self.elsewhere = acted, elsewhere


@dataclass(slots=True)
class Answer:
    status: int
    headers: httpx2.Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Times in seconds, sizes in bytes."""

    total: float
    connect: float
    size: int
    redirects: int


async def exchange(client: httpx2.AsyncClient, request: httpx2.Request, bounds: Bounds) -> Answer:
    """Send a request and return what was answered, whatever its status but a redirect.

    Raises:
        CallFailed: There was no answer, or none that may be taken.
    """
    sent = _Sent()
    request.extensions = {
        **request.extensions,
        "timeout": {"connect": bounds.connect, "read": bounds.total, "write": bounds.total, "pool": bounds.total},
        "trace": sent.look,
    }
    try:
        async with asyncio.timeout(bounds.total):
            return await _follow(client, request, bounds, sent)
    except ActionFailed:
        raise
    except TimeoutError as error:
        raise CallFailed(
            ErrorType.TIMEOUT, f"{_host(request)} gave no whole answer within {bounds.total:g} s", acted=sent.begun
        ) from error
    except Exception as error:
        _translate(error, request, sent, bounds)


class _Sent:
    """Knows whether anything of a request has left."""

    def __init__(self) -> None:
        self.begun = False

    async def look(self, event: str, info: dict[str, Any]) -> None:
        del info
        if event.endswith("send_request_headers.started"):
            self.begun = True


async def _follow(client: httpx2.AsyncClient, request: httpx2.Request, bounds: Bounds, sent: _Sent) -> Answer:
    for _ in range(bounds.redirects + 1):
        response = await client.send(request, stream=True)
        try:
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return Answer(response.status_code, response.headers, await _body(response, bounds.size))
            request = _redirected(client, request, response, bounds)
        finally:
            await response.aclose()
    raise CallFailed(ErrorType.PERMANENT, f"{_host(request)}: more than {bounds.redirects} redirects", acted=sent.begun)


def _redirected(
    client: httpx2.AsyncClient, request: httpx2.Request, response: httpx2.Response, bounds: Bounds
) -> httpx2.Request:
    """Return the request that a redirect asks for: where it may go, without what is for the first place alone."""
    to = response.headers["location"]
    if not bounds.redirects:
        shown = urlsplit(to).hostname or "another path"
        message = f"{_host(request)} answered {response.status_code}, a redirect to {shown:.100}; it is not followed unless the service says redirects: 1"
        raise CallFailed(ErrorType.PERMANENT, message, acted=True)
    try:
        url = request.url.join(to)
    except (httpx2.InvalidURL, ValueError) as error:
        raise CallFailed(
            ErrorType.PERMANENT, f"{_host(request)} redirects to what is no address", acted=True
        ) from error
    same = (url.scheme, url.host, url.port) == (request.url.scheme, request.url.host, request.url.port)
    if url.scheme not in {"https", "http"} or (request.url.scheme == "https" and url.scheme != "https") or url.userinfo:
        message = f"{_host(request)} redirects to {url.scheme}://{url.host}, which is not followed"
        raise CallFailed(ErrorType.SECURITY, message, acted=True)
    if not same and url.port not in {None, request.url.port}:
        message = f"{_host(request)} redirects to another port, {url.host}:{url.port}, which is not followed"
        raise CallFailed(ErrorType.SECURITY, message, acted=True)
    if response.status_code not in {307, 308} and request.method != "GET":
        message = f"{_host(request)} redirects a {request.method} by {response.status_code}, after which it would be another request"
        raise CallFailed(ErrorType.PERMANENT, message, acted=True)
    names = {"content-type", "accept", "accept-encoding", "user-agent"}
    headers = {k: v for k, v in request.headers.items() if k not in {"host", "content-length"} and (same or k in names)}
    made = client.build_request(request.method, url, headers=headers, content=request.content or None)
    made.extensions = request.extensions
    return made


async def _body(response: httpx2.Response, most: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        message = f"{response.request.url.host} answered in {encoding[:40]!r}, which was not asked for"
        raise CallFailed(ErrorType.VALIDATION, message, acted=True)
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > most:
            message = (
                f"{response.request.url.host} answers with more than {most} bytes; raise max_response if that is right"
            )
            raise CallFailed(ErrorType.VALIDATION, message, acted=True, recoverable=False)
        parts.append(part)
    return b"".join(parts)


def _translate(error: Exception, request: httpx2.Request, sent: _Sent, bounds: Bounds) -> NoReturn:
    """Raise what an exception of the connection amounts to."""
    host = _host(request)
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case AddressRefused():
                raise CallFailed(ErrorType.SECURITY, f"{host} is not called: {cause}", acted=sent.begun) from error
            case NameUnknown():
                kind = ErrorType.TRANSIENT if cause.passing else ErrorType.DEPENDENCY
                raise CallFailed(kind, str(cause), acted=sent.begun) from error
            case ssl.SSLCertVerificationError():
                reason = cause.verify_message or "it cannot be verified"
                raise CallFailed(
                    ErrorType.SECURITY, f"the certificate of {host} is refused: {reason}", acted=False
                ) from error
            case ssl.SSLError():
                reason = cause.reason or "the handshake failed"
                raise CallFailed(ErrorType.TRANSIENT, f"TLS with {host}: {reason}", acted=sent.begun) from error
            case _:
                cause = cause.__cause__ or cause.__context__
    match error:
        case httpcore2.ConnectTimeout():
            raise CallFailed(
                ErrorType.TIMEOUT, f"no connection to {host} within {bounds.connect:g} s", acted=False
            ) from error
        case httpcore2.ConnectError():
            raise CallFailed(ErrorType.TRANSIENT, f"no connection to {host}: {error}", acted=False) from error
        case httpcore2.TimeoutException():
            message = f"{host} gave no whole answer within {bounds.total:g} s"
            raise CallFailed(ErrorType.TIMEOUT, message, acted=sent.begun) from error
        case httpcore2.RemoteProtocolError():
            raise CallFailed(
                ErrorType.TRANSIENT, f"{host} answered what is no HTTP: {str(error)[:200]}", acted=sent.begun
            ) from error
        case httpcore2.NetworkError() | OSError():
            raise CallFailed(
                ErrorType.TRANSIENT, f"the connection to {host} broke: {error}", acted=sent.begun
            ) from error
        case httpcore2.UnsupportedProtocol() | httpcore2.LocalProtocolError() | httpx2.InvalidURL():
            raise CallFailed(
                ErrorType.PERMANENT, f"{host} cannot be asked this: {error}", acted=False, elsewhere=False
            ) from error
        case _:
            raise error


def _host(request: httpx2.Request) -> str:
    return f"{request.url.host}:{request.url.port}" if request.url.port else request.url.host


def check_status(host: str, answer: Answer) -> None:
    """Raise what a status amounts to that is none of success.

    Raises:
        CallFailed: With ``status`` among its details, and ``retry_after_ms`` where the service names a time.
    """
    status = answer.status
    if 200 <= status < 300:
        return
    said = redact_text(answer.body[: 16 * _EXCERPT].decode("utf-8", "replace")).strip()[:_EXCERPT]
    message = f"{host} answered {status}" + (f": {said}" if said else "")
    details: dict[str, Any] = {"status": status}
    wait = _retry_after(answer.headers.get("retry-after", ""))
    if wait is not None:
        details["retry_after_ms"] = wait
    match status:
        case 429:
            raise CallFailed(ErrorType.RESOURCE, message, acted=False, **details)
        case 503:
            raise CallFailed(ErrorType.TRANSIENT, message, acted=False, **details)
        case 408:
            raise CallFailed(ErrorType.TIMEOUT, message, acted=False, **details)
        case 504:
            raise CallFailed(ErrorType.TIMEOUT, message, acted=True, **details)
        case 409 | 425:
            # Another attempt under the same key is still at work there, or it is too early.
            raise CallFailed(ErrorType.TRANSIENT, message, acted=True, **details)
        case 400 | 413 | 415 | 422:
            raise CallFailed(ErrorType.VALIDATION, message, acted=False, elsewhere=False, recoverable=False, **details)
        case 401 | 403 | 407:
            hint = f"{message}; look at its auth and the secret that it names"
            raise CallFailed(ErrorType.PERMANENT, hint, acted=False, **details)
        case _ if 400 <= status < 500 or status in {501, 505}:
            raise CallFailed(ErrorType.PERMANENT, message, acted=False, **details)
        case _ if status >= 500:
            raise CallFailed(ErrorType.TRANSIENT, message, acted=True, **details)
        case _:
            raise CallFailed(ErrorType.PERMANENT, message, acted=True, **details)


def _retry_after(text: str) -> int | None:
    """Return the milliseconds that a service asks us to wait, bounded; None when it does not say."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(int(text) * 1_000, LONGEST_RETRY_AFTER_MS)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    wait = int((at - time.time()) * 1_000)  # noqa: TID251 - a date on the wall is compared with the wall
    return min(max(wait, 0), LONGEST_RETRY_AFTER_MS)


def json_of(host: str, body: bytes) -> Any:
    """Return an answer's body as plain data.

    Raises:
        CallFailed: It is no JSON; another attempt may do better.
    """
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else redact_text(str(error))[:200]
        message = f"{host} answered what is no JSON: {reason}"
        raise CallFailed(ErrorType.VALIDATION, message, acted=True) from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def at_path(host: str, value: Any, path: str) -> Any:
    """Return what lies at a dotted path of an answer.

    Raises:
        CallFailed: Nothing does.
    """
    for part in path.split(".") if path else ():
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise CallFailed(ErrorType.VALIDATION, f"the answer of {host} has no {path!r}", acted=True)
    return value
