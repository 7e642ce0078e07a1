"""Losses: pure functions, then registered classes."""
