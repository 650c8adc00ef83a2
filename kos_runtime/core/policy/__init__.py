"""What is tried when a step fails, as arithmetic."""
