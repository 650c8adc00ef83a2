"""The agent that calls services: one action for each capability, and for each call the first provider that answers."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlsplit

import httpx2

from kos_runtime.adapters.known_secrets import KNOWN
from kos_runtime.adapters.secret_values import secret_value
from kos_runtime.adapters.services.exchange import Bounds, CallFailed, check_status, exchange
from kos_runtime.adapters.services.limiter import Limiter
from kos_runtime.adapters.services.requests import request_of, result_of
from kos_runtime.adapters.services.spec import KIND, Capability, Provider, check_inputs, with_secrets
from kos_runtime.adapters.services.transport import GuardedTransport
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed, Agent, Context, action


class ServiceAgent(Agent):
    """``settings`` has ``providers``, in the order in which they are asked, each as ``spec.normal`` returns it."""

    kind: ClassVar[str] = KIND

    def __new__(cls, settings: Mapping[str, Any] | None = None) -> Self:
        """Make an object of a class of its own, whose actions are the capabilities that its settings name."""
        members: dict[str, Any] = {"__doc__": cls.__doc__, "__module__": cls.__module__}
        for provider in (settings or {}).get("providers", ()):
            for name, said in provider["capabilities"].items():
                members.setdefault(f"call_{name}", _action(name, idempotent=said["idempotent"]))
        return object.__new__(type(cls.__name__, (cls,), members))

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        self._doors = [Door(Provider.from_plain(plain)) for plain in self.settings.get("providers", ())]

    async def call(self, name: str, inputs: Mapping[str, Any], context: Context) -> Any:
        """Ask the providers that offer a capability, one after the other, until one has answered.

        Raises:
            ActionFailed: None has. The next is asked only where the one before has certainly not acted, or where the
                capability is idempotent; what came of each is in the message.
        """
        failures: list[tuple[Door, CallFailed]] = []
        for door in self._doors:
            capability = door.provider.capabilities.get(name)
            if capability is None:
                continue
            try:
                return await door.call(capability, inputs, context)
            except CallFailed as error:
                failures.append((door, error))
                if not error.elsewhere or (error.acted and not capability.idempotent):
                    break
                context.log("a service failed", service=door.provider.name, capability=name, error=error.message)
        raise _together(name, failures)


def _together(name: str, failures: list[tuple["Door", CallFailed]]) -> ActionFailed:
    """Return the one failure that several amount to: the first that another attempt may mend, else the first."""
    if not failures:
        return ActionFailed(ErrorType.PERMANENT, f"no service that is configured offers {name!r}")
    door, chosen = next(((d, e) for d, e in failures if _mends(e)), failures[0])
    if len(failures) == 1:
        return ActionFailed(chosen.kind, f"{door.provider.name}.{name}: {chosen.message}", recoverable=chosen.recoverable, details=chosen.details)  # fmt: skip
    told = "; ".join(f"{d.provider.name}: {e.message:.400}" for d, e in failures)
    waits = [e.details["retry_after_ms"] for _, e in failures if "retry_after_ms" in e.details]
    details = {**chosen.details, **({"retry_after_ms": min(waits)} if waits else {})}
    if any(error.acted for _, error in failures):
        details["outcome_unknown"] = True
    return ActionFailed(chosen.kind, f"none of {len(failures)} services has done {name}: {told}", recoverable=chosen.recoverable, details=details)  # fmt: skip


def _mends(error: CallFailed) -> bool:
    if error.recoverable is not None:
        return error.recoverable
    return error.kind not in {ErrorType.PERMANENT, ErrorType.SECURITY}


def _action(name: str, *, idempotent: bool) -> Callable[..., Any]:
    async def call(self: ServiceAgent, context: Context, **inputs: Any) -> Any:
        return await self.call(name, inputs, context)

    return action(name=name, idempotent=idempotent)(call)


class Door:
    """One provider, its connections and its limits. Used on one event loop, on which it is opened."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._client: httpx2.AsyncClient | None = None
        self._limiter: Limiter | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._host = urlsplit(provider.url).hostname or provider.url
        self._bounds = Bounds(
            total=provider.timeout_ms / 1_000,
            connect=provider.connect_timeout_ms / 1_000,
            size=provider.max_response,
            redirects=provider.redirects,
        )

    async def call(self, capability: Capability, inputs: Mapping[str, Any], context: Context) -> Any:
        """Do one call.

        Raises:
            CallFailed: It failed.
        """
        provider = self.provider
        problem = check_inputs(provider.name, capability, inputs)
        if problem is not None:
            raise CallFailed(ErrorType.VALIDATION, problem, acted=False, elsewhere=False, recoverable=False)
        method, url, body, query = request_of(provider, capability, inputs)
        client, limiter = self._open()
        headers = self._headers(context)
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/json"
        request = client.build_request(method, url, params=query or None, headers=headers, content=content)
        async with limiter:
            answer = await exchange(client, request, self._bounds)
        check_status(self._host, answer)
        return result_of(provider, capability, answer)

    def _open(self) -> tuple[httpx2.AsyncClient, Limiter]:
        loop = asyncio.get_running_loop()
        if self._client is None or self._limiter is None or self._loop is not loop:
            provider = self.provider
            transport = GuardedTransport(provider.allow_private)
            self._client = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)
            self._limiter = Limiter(provider.max_concurrency, provider.rate_starts, provider.rate_per_ms)
            self._loop = loop
            self._keeping = loop.create_task(_close_at_the_end(self._client))
        return self._client, self._limiter

    def _headers(self, context: Context) -> dict[str, str]:
        """Return what goes with every call: who we are, which attempt this is, and what the service asks to see."""
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"kos-runtime/{_version()}",
            "Idempotency-Key": _ascii(context.idempotency_key),
            "Kos-Run": context.run,
            "Kos-Step": _ascii(context.step),
            "Kos-Attempt": str(context.attempt),
            "Kos-Fence": str(context.fence),
        }
        try:
            for name, text in self.provider.headers.items():
                headers[name] = _sendable(with_secrets(text, secret_value))
            if self.provider.basic is not None:
                user, password = self.provider.basic
                pair = f"{user}:{with_secrets(password, secret_value)}"
                encoded = base64.b64encode(pair.encode()).decode()
                KNOWN.learn(encoded)
                headers["Authorization"] = f"Basic {encoded}"
        except CallFailed:
            raise
        except ActionFailed as error:
            # Another provider may have its own.
            raise CallFailed(error.kind, error.message, acted=False) from error
        return headers


async def _close_at_the_end(client: httpx2.AsyncClient) -> None:
    """Close connections when the loop ends, which cancels what still runs on it."""
    try:
        await asyncio.Event().wait()
    finally:
        await client.aclose()


def _ascii(text: str) -> str:
    return quote(text, safe="!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~ ").strip()


def _sendable(value: str) -> str:
    if any(ord(c) < 32 or ord(c) > 126 for c in value):
        raise CallFailed(ErrorType.PERMANENT, "a secret holds what no header can carry (a line's end, or no ASCII)", acted=False)  # fmt: skip
    return value


def _version() -> str:
    try:
        return version("kos-runtime")
    except PackageNotFoundError:
        return "0"
