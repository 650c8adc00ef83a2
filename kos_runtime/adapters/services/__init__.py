"""Services: what does the work of a step at the other end of a network, by its capabilities."""
