"""What protocols must never do, as functions of a trace that any host can give: the simulator, or a real log."""
