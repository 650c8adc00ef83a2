"""What a small library lends, to whom, and what a late return costs."""
