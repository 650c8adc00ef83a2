"""What kind of failure an exception is: by Python's own classes, by a status that it carries, by its class's name.

Libraries are never imported here. A class is known by the first part of its module and its name, its own or that of a
class that it derives from; the nearest one counts.
"""

import errno
from typing import Any, Final

from kos_runtime.core.errors import StoreError
from kos_runtime.core.failure import ErrorType

TRANSIENT, PERMANENT, RESOURCE = ErrorType.TRANSIENT, ErrorType.PERMANENT, ErrorType.RESOURCE
DEPENDENCY, TIMEOUT, VALIDATION = ErrorType.DEPENDENCY, ErrorType.TIMEOUT, ErrorType.VALIDATION
SECURITY = ErrorType.SECURITY

#: No room, no handles, no memory.
_RESOURCE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})

#: Library, class → kind.
NAMES: Final[dict[tuple[str, str], ErrorType]] = {
    # Python's own, which have no builtin class.
    ("socket", "gaierror"): DEPENDENCY,
    ("ssl", "SSLCertVerificationError"): SECURITY,
    ("subprocess", "TimeoutExpired"): TIMEOUT,
    ("sqlite3", "OperationalError"): TRANSIENT,
    ("sqlite3", "IntegrityError"): PERMANENT,
    ("sqlite3", "ProgrammingError"): PERMANENT,
    ("concurrent", "BrokenExecutor"): RESOURCE,
    ("http", "HTTPException"): DEPENDENCY,
    ("json", "JSONDecodeError"): VALIDATION,
    # Checked data.
    ("pydantic_core", "ValidationError"): VALIDATION,
    ("jsonschema", "ValidationError"): VALIDATION,
    ("marshmallow", "ValidationError"): VALIDATION,
    ("yaml", "YAMLError"): VALIDATION,
    # HTTP.
    ("requests", "Timeout"): TIMEOUT,
    ("requests", "SSLError"): SECURITY,
    ("requests", "ConnectionError"): TRANSIENT,
    ("requests", "InvalidURL"): PERMANENT,
    ("requests", "RequestException"): DEPENDENCY,
    ("httpx", "TimeoutException"): TIMEOUT,
    ("httpx", "TransportError"): TRANSIENT,
    ("httpx", "InvalidURL"): PERMANENT,
    ("httpx", "HTTPError"): DEPENDENCY,
    ("httpcore", "TimeoutException"): TIMEOUT,
    ("httpcore", "NetworkError"): TRANSIENT,
    ("aiohttp", "ServerTimeoutError"): TIMEOUT,
    ("aiohttp", "ClientConnectionError"): TRANSIENT,
    ("aiohttp", "ClientSSLError"): SECURITY,
    ("aiohttp", "InvalidURL"): PERMANENT,
    ("aiohttp", "ClientError"): DEPENDENCY,
    ("urllib3", "TimeoutError"): TIMEOUT,
    ("urllib3", "SSLError"): SECURITY,
    ("urllib3", "HTTPError"): TRANSIENT,
    ("urllib", "URLError"): DEPENDENCY,
    ("websockets", "ConnectionClosed"): TRANSIENT,
    # Models' interfaces.
    ("openai", "APITimeoutError"): TIMEOUT,
    ("openai", "APIConnectionError"): TRANSIENT,
    ("openai", "RateLimitError"): RESOURCE,
    ("anthropic", "APITimeoutError"): TIMEOUT,
    ("anthropic", "APIConnectionError"): TRANSIENT,
    ("anthropic", "RateLimitError"): RESOURCE,
    # Stores.
    ("psycopg", "OperationalError"): DEPENDENCY,
    ("psycopg", "IntegrityError"): PERMANENT,
    ("psycopg2", "OperationalError"): DEPENDENCY,
    ("psycopg2", "IntegrityError"): PERMANENT,
    ("sqlalchemy", "OperationalError"): DEPENDENCY,
    ("sqlalchemy", "IntegrityError"): PERMANENT,
    ("sqlalchemy", "TimeoutError"): RESOURCE,
    ("redis", "TimeoutError"): TIMEOUT,
    ("redis", "AuthenticationError"): SECURITY,
    ("redis", "ConnectionError"): TRANSIENT,
    ("pymongo", "AutoReconnect"): TRANSIENT,
    ("pymongo", "OperationFailure"): PERMANENT,
    ("botocore", "NoCredentialsError"): SECURITY,
    ("botocore", "ConnectionError"): TRANSIENT,
    ("botocore", "HTTPClientError"): TRANSIENT,
    # Ray and the devices.
    ("ray", "OutOfMemoryError"): RESOURCE,
    ("ray", "ObjectStoreFullError"): RESOURCE,
    ("ray", "RayActorError"): TRANSIENT,
    ("ray", "WorkerCrashedError"): TRANSIENT,
    ("ray", "ObjectLostError"): TRANSIENT,
    ("torch", "OutOfMemoryError"): RESOURCE,
    ("cupy", "OutOfMemoryError"): RESOURCE,
    # Keys and signatures.
    ("cryptography", "InvalidSignature"): SECURITY,
    ("jwt", "InvalidTokenError"): SECURITY,
}
#: Names of gRPC's status codes.
_GRPC: Final = {
    "DEADLINE_EXCEEDED": TIMEOUT,
    "UNAVAILABLE": TRANSIENT,
    "ABORTED": TRANSIENT,
    "RESOURCE_EXHAUSTED": RESOURCE,
    "UNAUTHENTICATED": SECURITY,
    "PERMISSION_DENIED": SECURITY,
    "INVALID_ARGUMENT": PERMANENT,
    "NOT_FOUND": PERMANENT,
    "ALREADY_EXISTS": PERMANENT,
    "FAILED_PRECONDITION": PERMANENT,
    "OUT_OF_RANGE": PERMANENT,
    "UNIMPLEMENTED": PERMANENT,
    "INTERNAL": DEPENDENCY,
}
#: HTTP statuses that are not told by their hundred.
_HTTP: Final = {
    401: SECURITY, 403: SECURITY, 407: SECURITY, 408: TIMEOUT, 409: TRANSIENT, 425: TRANSIENT, 429: RESOURCE,
    501: PERMANENT, 504: TIMEOUT, 507: RESOURCE,
}  # fmt: skip
#: Libraries whose exceptions carry the status of an answer.
_SPEAK_HTTP: Final = frozenset({
    "requests", "httpx", "aiohttp", "urllib", "openai", "anthropic", "botocore", "google", "huggingface_hub", "starlette", "fastapi",
})  # fmt: skip


def kind_of(error: BaseException) -> ErrorType:
    """Return the kind of an exception; ``unknown`` for one of which nothing is known."""
    try:
        told = _told(error)
    except Exception:
        # An exception may do anything when it is looked at.
        told = None
    return told or _builtin(error)


def _told(error: BaseException) -> ErrorType | None:
    for cls in type(error).__mro__:
        library = str(getattr(cls, "__module__", "")).partition(".")[0].lstrip("_")
        if library == "builtins":
            break
        if library in _SPEAK_HTTP:
            status = _status(error)
            if status is not None:
                return _HTTP.get(status, PERMANENT if 400 <= status < 500 else DEPENDENCY if status >= 500 else None)
        if library == "grpc":
            return _GRPC.get(str(getattr(_code(error), "name", "")), DEPENDENCY)
        known = NAMES.get((library, cls.__name__))
        if known is not None:
            return known
    return None


def _status(error: Any) -> int | None:
    """Return the HTTP status of the answer that an exception is about."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {})
        found = response.get("HTTPStatusCode")
        return found if isinstance(found, int) else None
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            found = getattr(holder, name, None)
            if isinstance(found, int) and 400 <= found < 600:
                return found
    return None


def _code(error: Any) -> Any:
    code = getattr(error, "code", None)
    return code() if callable(code) else code


def _builtin(error: BaseException) -> ErrorType:
    match error:
        case TimeoutError():
            return TIMEOUT
        case MemoryError() | StoreError():
            return RESOURCE
        case ConnectionError():
            return TRANSIENT
        case OSError() if error.errno in _RESOURCE:
            return RESOURCE
        case PermissionError() | FileNotFoundError() | IsADirectoryError() | NotADirectoryError():
            return PERMANENT
        case OSError():
            return TRANSIENT
        case ImportError() | NotImplementedError():
            return PERMANENT
        case _:
            return ErrorType.UNKNOWN
