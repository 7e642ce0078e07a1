"""Transforms between a data set and the packed sample."""
