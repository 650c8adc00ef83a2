"""Schedules: streams of their own that make runs at instants of the wall clock."""
