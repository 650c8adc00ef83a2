"""Protocols between agents, as pure machines on ``kos_runtime.core``. None is part of this version yet."""
