"""A tiny CLIP for the inferencers, and a folder of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_clips import SIGLIP, VIT, shake

from harmoclip_mm.registry import MODELS


def build(clip):
    return shake(MODELS.build(dict(type='harmoclip_mm.HarmoCLIP', clip=clip)))


@pytest.fixture(scope='module')
def tiny_clip():
    return build(VIT).eval()


@pytest.fixture(scope='module')
def tiny_siglip():
    return build(SIGLIP).eval()


@pytest.fixture(scope='module')
def pictures(tmp_path_factory) -> Path:
    """Three pictures of random colours, losslessly, of two sizes."""
    root = tmp_path_factory.mktemp('pictures')
    for number, (height, width) in enumerate([(48, 64), (48, 64), (70, 40)]):
        pixels = np.random.default_rng(number).integers(
            0, 256, (height, width, 3), np.uint8
        )
        Image.fromarray(pixels).save(root / f'{number}.png')
    return root
