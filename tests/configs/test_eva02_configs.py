"""The configs of EVA-02 build, and read images at their own size."""

from pathlib import Path

import pytest
import torch

from harmoclip_mm.apis import load_config
from harmoclip_mm.models import HarmoCLIPEVA02
from harmoclip_mm.registry import DATASETS, MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'side', 'millions'),
    [('vitb16', 224, 149.7), ('vitl14', 336, 428.1)],
)
def test_towers_and_sizes(name, side, millions, harmoclip_scope):
    cfg = load_config(str(CONFIGS / f'harmoclip_eva02-{name}_coco.py'))
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert isinstance(model.backbone, HarmoCLIPEVA02)
    assert model.backbone.img_size == (side, side)
    # EVA-CLIP (arXiv 2303.15389), table 3: 149 M and 428 M parameters
    count = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.1)
    for loader in ('train', 'val', 'test'):
        pipeline = cfg[f'{loader}_dataloader'].dataset.pipeline
        scales = [each.scale for each in pipeline if 'scale' in each]
        assert scales == [(side, side)]


def test_photos_are_read_at_336(coco_photos, monkeypatch, harmoclip_scope):
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    cfg = load_config(str(CONFIGS / 'harmoclip_eva02-vitl14_coco.py'))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 336, 336)
    assert sample['data_samples'].img_shape == (336, 336)
