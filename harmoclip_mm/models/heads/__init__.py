"""Heads: each owns logits and targets, delegates to its loss."""
