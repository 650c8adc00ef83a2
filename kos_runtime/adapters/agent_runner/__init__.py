"""What executes invocations inside an agent's process: the same under Ray and in one process.

Nothing is imported here: linking reads signatures, and has no use for what runs them.
"""
