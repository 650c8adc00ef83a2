"""The agents that come with the runtime, and the marks to write one's own."""

from kos_runtime.ports.agent import ActionFailed, Agent, Context, Envelope, MessageRefused, Turn, action

__all__ = ["ActionFailed", "Agent", "Context", "Envelope", "MessageRefused", "Turn", "action"]
