"""Helpers shared by models: region batches, distributed gathers."""
