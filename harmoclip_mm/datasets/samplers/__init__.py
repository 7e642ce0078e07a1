"""Samplers whose position and randomness survive a restart."""

from .resumable_samplers import ResumableInfiniteSampler, ResumableSampler
from .sample_index import SampleIndex, seed_for_sample, seed_generators

__all__ = [
    'ResumableInfiniteSampler',
    'ResumableSampler',
    'SampleIndex',
    'seed_for_sample',
    'seed_generators',
]
