"""Metrics as pure functions over arrays."""
