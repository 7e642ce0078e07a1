"""Zero-shot classifiers built from a text tower."""
