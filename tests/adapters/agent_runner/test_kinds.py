"""What kind of failure an exception is, by class, status and name; without any library at hand."""

import concurrent.futures
import errno
import json
import socket
import sqlite3
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from pydantic import TypeAdapter

from kos_runtime.adapters.agent_runner.classify import classify
from kos_runtime.adapters.agent_runner.kinds import NAMES, kind_of
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed


def raised(module: str, *names: str, **attributes: Any) -> Exception:
    """Make an exception as a library has it: its class, below those that it derives from."""
    base: type[Exception] = Exception
    for name in names:
        base = type(name, (base,), {"__module__": module})
    error = base("said")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class Answer:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def validation() -> Exception:
    with pytest.raises(ValueError) as caught:
        TypeAdapter(int).validate_python("x")
    return caught.value


def http(status: int) -> Exception:
    return HTTPError("http://x", status, "said", {}, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (concurrent.futures.TimeoutError(), "timeout"),
        (subprocess.TimeoutExpired("x", 1), "timeout"),
        (MemoryError(), "resource"),
        (OSError(errno.ENOSPC, "full"), "resource"),
        (ConnectionRefusedError(), "transient"),
        (BrokenPipeError(), "transient"),
        (FileNotFoundError(), "permanent"),
        (ImportError(), "permanent"),
        (socket.gaierror(), "dependency"),
        (ssl.SSLCertVerificationError(), "security"),
        (sqlite3.OperationalError("database is locked"), "transient"),
        (sqlite3.IntegrityError(), "permanent"),
        (concurrent.futures.BrokenExecutor(), "resource"),
        (json.JSONDecodeError("x", "y", 0), "validation"),
        (validation(), "validation"),
        (URLError("no route"), "dependency"),
        (http(401), "security"),
        (http(404), "permanent"),
        (http(408), "timeout"),
        (http(429), "resource"),
        (http(503), "dependency"),
        (http(504), "timeout"),
        (ValueError("x"), "unknown"),
        (KeyError("x"), "unknown"),
        (ZeroDivisionError(), "unknown"),
        (SystemExit(1), "unknown"),
        (raised("requests.exceptions", "RequestException", "HTTPError", response=Answer(403)), "security"),
        (raised("requests.exceptions", "RequestException", "ConnectionError"), "transient"),
        (raised("requests.exceptions", "RequestException", "Timeout", "ReadTimeout"), "timeout"),
        (raised("requests.exceptions", "RequestException"), "dependency"),
        (raised("httpx", "HTTPError", "TransportError", "TimeoutException", "ReadTimeout"), "timeout"),
        (raised("httpx", "HTTPError", "TransportError", "NetworkError", "ConnectError"), "transient"),
        (raised("httpx", "HTTPError", "HTTPStatusError", response=Answer(502)), "dependency"),
        (raised("aiohttp.client_exceptions", "ClientError", "ClientResponseError", status=429), "resource"),
        (raised("openai", "APIError", "APIStatusError", "RateLimitError", status_code=429), "resource"),
        (raised("openai", "APIError", "APIConnectionError", "APITimeoutError"), "timeout"),
        (raised("anthropic", "APIStatusError", "AuthenticationError", status_code=401), "security"),
        (
            raised("botocore.exceptions", "ClientError", response={"ResponseMetadata": {"HTTPStatusCode": 403}}),
            "security",
        ),
        (raised("grpc", "RpcError", code=lambda: type("C", (), {"name": "UNAVAILABLE"})), "transient"),
        (raised("grpc", "RpcError", code=lambda: type("C", (), {"name": "PERMISSION_DENIED"})), "security"),
        (raised("psycopg", "Error", "OperationalError"), "dependency"),
        (raised("redis.exceptions", "RedisError", "ConnectionError"), "transient"),
        (raised("torch.cuda", "OutOfMemoryError"), "resource"),
        (raised("ray.exceptions", "RayError", "RayActorError", "ActorDiedError"), "transient"),
        (raised("ray.exceptions", "RayError", "OutOfMemoryError"), "resource"),
        (raised("jwt.exceptions", "InvalidTokenError", "ExpiredSignatureError"), "security"),
        (raised("stranger", "Error"), "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_exception_has_the_kind_that_its_class_says(error: BaseException, kind: str) -> None:
    assert kind_of(error) is ErrorType(kind)


def test_an_exception_that_cannot_be_looked_at_is_unknown() -> None:
    class Broken(Exception):
        __module__ = "requests"

        @property
        def response(self) -> Any:
            raise RuntimeError("no")

    assert kind_of(Broken()) is ErrorType.UNKNOWN


def test_the_table_names_no_builtin_and_the_documents_name_every_library_of_it() -> None:
    page = Path("docs/failure.md").read_text(encoding="utf-8")
    for library, _ in NAMES:
        assert library != "builtins"
        assert f"`{library}`" in page, library


@pytest.mark.parametrize(
    ("kind", "recoverable", "suggested"),
    [
        ("transient", True, "retry"),
        ("timeout", True, "retry"),
        ("unknown", True, "retry"),
        ("resource", True, "retry, then fallback"),
        ("dependency", True, "retry, then fallback"),
        ("validation", True, "retry"),
        ("permanent", False, "fallback"),
        ("security", False, "escalate"),
    ],
)
def test_each_kind_says_whether_it_can_be_mended_and_how(kind: str, recoverable: bool, suggested: str) -> None:
    made = classify(ActionFailed(kind, "x"), "s")
    assert (made.recoverable, made.suggested_action) == (recoverable, suggested)


def test_an_action_may_say_otherwise_of_its_own_failure() -> None:
    made = classify(ActionFailed("permanent", "x", recoverable=True, suggested_action="manual"), "s")
    assert (made.recoverable, made.suggested_action) == (True, "manual")
    assert classify(ActionFailed("transient", "x", recoverable=False), "s").suggested_action == "fail"
    assert classify(ActionFailed("resource", "x", recoverable=False), "s").suggested_action == "fallback"
    with pytest.raises(ValueError, match="no recovery action 'dance'"):
        ActionFailed("permanent", "x", suggested_action="dance")
