"""The documents that the agents work on: where they are, which files count, what stands in them, how they are found."""
