"""Partitions and agents as Ray actors: the one room that imports ray."""
