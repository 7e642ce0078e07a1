"""Data sets of region phrases and of image-text retrieval."""
