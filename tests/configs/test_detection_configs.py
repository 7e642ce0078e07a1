"""mmdet's detectors on CLIP's towers, as configs/detection/ has them."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from harmoclip_mm.apis import load_config
from harmoclip_mm.registry import MODELS

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'detection'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
# Narrow and without a checkpoint; photos of 160 pixels; one step.
TINY = """
_base_ = {base!r}
clip = dict(
    _delete_=True,
    embed_dim=16,
    vision_cfg=dict(
        image_size=64, patch_size=16, width=32, head_width=16, layers=4
    ),
    text_cfg=dict(width=32, heads=2, layers=1),
)
model = dict(
    backbone=dict(img_size=64, window_size=3, init_cfg=None),
    neck=dict(in_channels=32),
    {heads}
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask={with_mask}),
    dict(type='Resize', scale=(160, 120), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    dataset=dict(pipeline=pipeline), sampler=dict(shuffle=False),
    num_workers=0, persistent_workers=False)
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1)
param_scheduler = []
visualizer = dict(name={name!r})  # one for each config in this process
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(by_epoch=False, interval=1, save_optimizer=False))
"""
HEADS = dict(
    dino='num_queries=50, encoder=dict(num_layers=1), '
    'decoder=dict(num_layers=1)',
    mask='train_cfg=dict(rcnn=dict(sampler=dict(num=16)))',
    retinanet='',
)


def test_the_configs_exist():
    assert NAMES == [
        'dino_harmoclip-vitb16_8xb2-12e_coco.py',
        'mask-rcnn_harmoclip-vitb16_8xb2-1x_coco.py',
        'retinanet_harmoclip-vitb16_8xb2-1x_coco.py',
    ]


@pytest.mark.parametrize('name', NAMES)
def test_full_size(name, monkeypatch):
    """The tower is OpenAI's, its positions on the grid of 1024 pixels."""
    monkeypatch.setenv('CLIP_CHECKPOINT', 'some/clip.pt')
    monkeypatch.setenv('COCO_ROOT', '/photos')  # as in the README
    assert len((FOLDER / name).read_text().splitlines()) < 60
    cfg = load_config(str(FOLDER / name))
    assert cfg.default_scope == 'mmdet'
    assert cfg.custom_imports.imports == ['harmoclip_mm']
    assert cfg.model.backbone.init_cfg.checkpoint == 'some/clip.pt'
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == '/photos'
    assert cfg.test_evaluator.ann_file.startswith('/photos/annotations/')
    assert '_delete_' not in str(cfg.model) + str(cfg.optim_wrapper)
    init_default_scope('mmdet')
    # the shapes alone; nothing is recomputed, which torch 2.1 refuses there
    with torch.device('meta'), torch.no_grad():
        backbone = MODELS.build(cfg.model.backbone)
        neck = MODELS.build(cfg.model.neck)
        maps = backbone(torch.empty(1, 3, 800, 1216))
        sides = [tuple(level.shape[2:]) for level in neck(maps)]
    # OpenAI's ViT-B/16 has 86,192,640 parameters at 14 x 14 patches
    count = sum(weight.numel() for weight in backbone.parameters())
    assert count == 86_192_640 + (64 * 64 - 14 * 14) * 768
    finest = 4 if 'mask' in name else 8
    strides = [finest * 2**level for level in range(len(sides))]
    assert sides == [(-(-800 // s), -(-1216 // s)) for s in strides]
    heads = cfg.model.get('rpn_head') or cfg.model.bbox_head
    if 'dino' not in name:
        assert heads.anchor_generator.strides == strides
    else:
        assert cfg.model.encoder.layer_cfg.self_attn_cfg.num_levels == 4


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_photos(name, coco_photos, tmp_path, monkeypatch, run_tool):
    """A step and its checkpoint, by the project's tool."""
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    text = TINY.format(
        base=str(FOLDER / name),
        name=name,
        with_mask='mask' in name,
        heads=HEADS[re.match(r'[a-z]+', name)[0]],
    )
    (tmp_path / 'tiny.py').write_text(text)
    run_tool('train.py', tmp_path / 'tiny.py', '--work-dir', tmp_path)
    log = next(tmp_path.glob('*/vis_data/scalars.json')).read_text()
    assert math.isfinite(json.loads(log.splitlines()[0])['loss'])
    assert (tmp_path / 'iter_1.pth').is_file()
