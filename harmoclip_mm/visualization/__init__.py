"""Drawing of regions with their phrases."""
