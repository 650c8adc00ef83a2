"""What a capability asks for, as an HTTP request; and what its answer is as a result. Two kinds: http and chat.

``http`` sends the step's inputs as JSON, or as the query of a GET. ``chat`` speaks the chat completions of the OpenAI
API, which many others speak too.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from kos_runtime.adapters.services.exchange import Answer, CallFailed, at_path, json_of
from kos_runtime.adapters.services.spec import Capability, Provider, written
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.types import misfit

_ROLES: Final = frozenset({"system", "user", "assistant"})


def request_of(
    provider: Provider, capability: Capability, inputs: Mapping[str, Any]
) -> tuple[str, str, Any, dict[str, str]]:
    """Return the method, the URL, the body as plain data (None for none) and the query.

    Raises:
        CallFailed: The inputs cannot be sent.
    """
    if capability.kind == "chat":
        return "POST", f"{provider.url}/chat/completions", _chat(provider, capability, inputs), {}
    path, used = written(capability.path, inputs, _segment)
    values = {**capability.parameters, **{name: value for name, value in inputs.items() if name not in used}}
    if capability.method in {"GET", "DELETE"}:
        return capability.method, provider.url + path, None, {name: _text(value) for name, value in values.items() if value is not None}  # fmt: skip
    return capability.method, provider.url + path, values, {}


def result_of(provider: Provider, capability: Capability, answer: Answer) -> Any:
    """Return the result of a step.

    Raises:
        CallFailed: The answer is none that can be read, or lacks what the capability declares.
    """
    if capability.kind == "chat":
        result = _completion(provider, capability, json_of(provider.name, answer.body))
    elif capability.answer == "text":
        result = {"text": answer.body.decode("utf-8", "replace")}
    else:
        found = json_of(provider.name, answer.body) if answer.body.strip() else {}
        result = at_path(provider.name, found, capability.result)
    for name, word in (capability.outputs or {}).items():
        value = result.get(name) if isinstance(result, dict) else None
        if value is None and word.endswith("?"):
            continue
        problem = "it is missing" if value is None else misfit(value, word.removesuffix("?"))
        if problem:
            message = f"the answer of {provider.name}.{capability.name}: {name!r}: {problem}"
            raise CallFailed(ErrorType.VALIDATION, message, acted=True)
    return result


def _segment(name: str, value: Any) -> str:
    """Write an input as one part of a path: it cannot lead anywhere else."""
    text = _text(value)
    if value is None or text in {"", ".", ".."}:
        message = f"the input {name!r} stands in the path and cannot be {text!r}"
        raise CallFailed(ErrorType.VALIDATION, message, acted=False, elsewhere=False, recoverable=False)
    return quote(text, safe="")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _chat(provider: Provider, capability: Capability, inputs: Mapping[str, Any]) -> dict[str, Any]:
    def said(_: str, value: Any) -> str:
        return "" if value is None else _text(value)

    prompt, used = written(capability.prompt, inputs, said)
    system, more = written(capability.system, inputs, said)
    system = system or str(inputs.get("system") or "")
    messages = [{"role": "system", "content": system}] if system else []
    context = inputs.get("context")
    if context is not None and "context" not in used | more:
        messages.append({"role": "system", "content": f"Context:\n{_text(context)}"})
    messages += _earlier(inputs.get("messages") or [])
    messages.append({"role": "user", "content": prompt})
    form = {"response_format": {"type": "json_object"}} if capability.answer == "json" else {}
    return {"model": provider.model, "messages": messages, **form, **capability.parameters}


def _earlier(messages: list[Any]) -> list[dict[str, str]]:
    for each in messages:
        if not (isinstance(each, dict) and each.get("role") in _ROLES and isinstance(each.get("content"), str)):
            message = "messages are objects with a role (system, user, assistant) and a content"
            raise CallFailed(ErrorType.VALIDATION, message, acted=False, elsewhere=False, recoverable=False)
    return [{"role": each["role"], "content": each["content"]} for each in messages]


def _completion(provider: Provider, capability: Capability, answer: Any) -> dict[str, Any]:
    choice = at_path(provider.name, answer, "choices.0")
    message = at_path(provider.name, choice, "message")
    refusal = message.get("refusal") if isinstance(message, dict) else None
    if refusal or choice.get("finish_reason") == "content_filter":
        raise CallFailed(
            ErrorType.PERMANENT, f"{provider.name} declined: {str(refusal or 'its content filter')[:300]}", acted=True
        )
    text = at_path(provider.name, message, "content")
    if not isinstance(text, str):
        raise CallFailed(ErrorType.VALIDATION, f"the answer of {provider.name} has no text", acted=True)
    usage = answer.get("usage")
    about = {
        "model": str(answer.get("model") or provider.model),
        "finish_reason": str(choice.get("finish_reason") or ""),
        "usage": usage if isinstance(usage, dict) else {},
    }
    if capability.answer != "json":
        return {"text": text, **about}
    found = json_of(provider.name, _unfenced(text).encode())
    if not isinstance(found, dict):
        raise CallFailed(ErrorType.VALIDATION, f"{provider.name} answered JSON that is no object", acted=True)
    return {**about, **found}


def _unfenced(text: str) -> str:
    """Return what stands inside a Markdown fence, in which models like to put JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].strip().removeprefix("json")
    return text
