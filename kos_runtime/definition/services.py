"""What ``services:`` of an engine's configuration may hold. Whether it can work is said when a run is linked."""

from typing import Final

from kos_runtime.definition.shapes import Anything, Flag, ListOf, MapOf, Number, Obj, OneOf, Span, Text

CAPABILITY: Final = Obj(
    "capability",
    {
        "method": OneOf("POST", "GET", "PUT", "PATCH", "DELETE"),
        "path": Text(),
        "inputs": MapOf(Text()),
        "outputs": MapOf(Text()),
        "parameters": MapOf(Anything(), names=False),
        "result": Text(),
        "answer": OneOf("json", "text"),
        "idempotent": Flag(),
        "system": Text(),
        "prompt": Text(),
    },
)
SERVICE: Final = Obj(
    "service",
    {
        "kind": OneOf("http", "chat"),
        "url": Text(),
        "provides": ListOf(Text(name=True), single=True),
        "priority": Number(-1_000_000, 1_000_000),
        "model": Text(),
        "parameters": MapOf(Anything(), names=False),
        "auth": Obj("auth", {"bearer": Text(), "basic": Obj("basic", {"user": Text(), "password": Text()})}),
        "headers": MapOf(Text(), names=False),
        "capabilities": MapOf(CAPABILITY),
        "timeout": Span(),
        "connect_timeout": Span(),
        "max_response": Number(1, 64 << 20),
        "redirects": Number(0, 5),
        "allow_private": ListOf(Text(), single=True),
        "max_concurrency": Number(1, 10_000),
        "rate_limit": Text(),
    },
)
SERVICES: Final = MapOf(SERVICE)
