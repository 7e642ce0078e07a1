"""What scripts call: launching, loading, inference."""
