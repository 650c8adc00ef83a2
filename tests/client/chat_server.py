"""A server that answers like one that speaks the chat completions of the OpenAI API."""

import json
import socket
from typing import Any

from tests.adapters.http_server import Asked


def completion(asked: Asked, _: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Answer as a model that repeats what it is asked, and finds every text good."""
    if asked.path != "/v1/chat/completions" or asked.method != "POST":
        return 404, {}, b'{"error": {"message": "no such path"}}'
    if not asked.headers.get("Authorization", "").startswith("Bearer "):
        return 401, {}, b'{"error": {"message": "no key", "type": "invalid_request_error"}}'
    body = asked.json
    said = body["messages"][-1]["content"]
    if body.get("response_format") == {"type": "json_object"}:
        said = json.dumps({"valid": True, "score": 0.9, "reason": f"{len(said)} characters"})
    else:
        said = f"You said: {said}"
    answer: dict[str, Any] = {
        "id": "chatcmpl-1", "object": "chat.completion", "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }  # fmt: skip
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
