"""The compiled definition and the link, as values."""
