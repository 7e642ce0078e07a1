"""Small real models and samples for the tests of ``models``."""

import copy

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from harmoclip_mm.datasets.transforms import (
    PackRegionTextInputs,
    TokenizeRegionText,
)
from harmoclip_mm.registry import MODELS


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('harmoclip_mm')


CLIP = dict(
    embed_dim=16,
    quick_gelu=True,
    vision_cfg=dict(
        image_size=32,
        layers=2,
        width=32,
        head_width=16,
        mlp_ratio=2,
        patch_size=8,
    ),
    text_cfg=dict(width=32, heads=2, layers=2),
)
TINY = dict(
    type='HarmoCLIP',
    clip=CLIP,
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
    heads=dict(
        gc=dict(type='GlobalContrastiveHead'),
        lrc=dict(type='RegionPhraseHead'),
        gr=dict(type='RegionAlignmentHead', mode='text'),
    ),
    predictors=dict(
        boxes=dict(
            type='BoxClassPredictor', classifier=dict(templates='simple')
        ),
        retrieval=dict(type='RetrievalPredictor'),
    ),
)
CLASSES = ('dog', 'cat', 'red car')


def make_sample(caption, regions, scale_factor=(1.0, 1.0)):
    """A training sample; regions are (box, phrase, linked to the caption)."""
    phrases = {}
    for label, (_, phrase, linked) in enumerate(regions):
        start = caption.find(phrase)
        spans = [[start, start + len(phrase)]] if linked else []
        phrases[label] = dict(phrase=phrase, tokens_positive=spans)
        if label != 1:  # one goes without
            phrases[label]['negatives'] = [f'no {phrase}', f'blue {phrase}']
    boxes = torch.tensor([box for box, _, _ in regions]).reshape(-1, 4)
    results = dict(
        text=caption,
        phrases=phrases,
        gt_bboxes=boxes,
        gt_bboxes_labels=np.arange(len(regions)),
        scale_factor=scale_factor,
    )
    results = TokenizeRegionText(CLIP, negatives=3)(results)
    sample = PackRegionTextInputs()(results)['data_samples']
    sample.set_metainfo(dict(text=CLASSES))  # what a test is asked for
    return sample


@pytest.fixture
def tiny_cfg():
    """Config of a tiny HarmoCLIP with all three heads."""
    return copy.deepcopy(TINY)


@pytest.fixture
def tiny_model(tiny_cfg):
    """The tiny model, initialised."""
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    return model


@pytest.fixture(name='make_sample', scope='session')
def make_sample_fixture():
    """The function that makes samples."""
    return make_sample


@pytest.fixture
def samples():
    """Three images: two regions, none, and a phrase of its own."""
    return [
        make_sample(
            'a dog beside a red car',
            [
                ([0.0, 0.0, 16.0, 16.0], 'dog', True),
                ([8.0, 8.0, 32.0, 30.0], 'red car', True),
            ],
        ),
        make_sample('nothing to see', []),
        make_sample('', [([2.0, 3.0, 20.0, 29.0], 'cat', False)]),
    ]


@pytest.fixture
def saved_bytes():
    """Counts the bytes that ``function()`` keeps for its backward.

    Memory that several operations keep counts once, parameters do not count.
    """

    def count(function):
        kept = {}

        def pack(tensor):
            if not isinstance(tensor, torch.nn.Parameter):
                kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            out = function()
        del out
        return sum(x.untyped_storage().nbytes() for x in kept.values())

    return count
