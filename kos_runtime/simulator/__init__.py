"""The same engine and the same agents in one process, without Ray: in real time, or in virtual time."""
