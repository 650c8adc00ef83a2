"""What executes invocations inside an agent's process: the same under Ray and in one process."""

from kos_runtime.adapters.agent_runner.runner import AgentRunner, BatchResult

__all__ = ["AgentRunner", "BatchResult"]
