"""Towers, region extractors, heads, losses and their assembly."""
