"""The methods' COCO configs train and are tested on real photos.

The towers are tiny, everything else is the config's: what is tested is that
each method's way from photos to figures fits together. With
``HARMOCLIP_PHOTO_STEPS=50`` the losses have time to fall.
"""

import json
import math
import os
import re
from pathlib import Path

import pytest
import torch

CONFIGS = Path(__file__).parents[2] / 'configs'
METHODS = {
    'clip': 'baselines/clip_vitb16_8xb32-10e_coco.py',
    'regionclip': 'baselines/regionclip_vitb16_8xb32-10e_coco.py',
    'clipself': 'baselines/clipself_vitb16_8xb2-6e_coco.py',
    'fineclip': 'baselines/fineclip_vitb16_8xb32-10e_coco.py',
    'clim': 'baselines/clim_vitb16_8xb32-10e_coco.py',
    'fgclip': 'baselines/fgclip_vitb16_8xb32-10e_coco.py',
    'sffclip': 'baselines/sffclip_vitb16_8xb32-10e_coco.py',
    'harmoclip': 'harmoclip_vitb16_coco.py',
    'harmoclip-hard': 'harmoclip_vitb16_hard-negatives_coco.py',
}
STEPS = int(os.environ.get('HARMOCLIP_PHOTO_STEPS', 3))
# The tiny CLIP in the grid of ViT-B/16, for few steps.
TINY = """
_base_ = {base!r}
clip = {clip!r}
train_dataloader = dict(
    batch_size={batch},
    num_workers=0,
    persistent_workers=False,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
)
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters={steps})
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(by_epoch=False, interval={steps}),
)
"""
FGOVD = (
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
)


@pytest.fixture(scope='module')
def phrases(coco_photos, tmp_path_factory, run_tool):
    """The photos' phrases, named by the environment as a user would."""
    path = tmp_path_factory.mktemp('phrases') / 'phrases.jsonl'
    annotations = coco_photos / 'annotations'
    run_tool(
        'dataset_converters/to_odvg.py', 'coco-captions',
        annotations / 'instances_train2017.json',
        '--captions', annotations / 'captions_train2017.json',
        '--out', path,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('COCO_ROOT', str(coco_photos))
        patch.setenv('COCO_PHRASES', str(path))
        patch.setenv('FGOVD_FILES', 'fgovd/region_phrases.jsonl')
        yield path


def read_losses(folder: Path) -> list:
    """Losses of each iteration in a work folder."""
    (path,) = folder.rglob('scalars.json')
    lines = map(json.loads, path.read_text().splitlines())
    return [
        {name: v for name, v in each.items() if name.startswith('loss')}
        for each in lines
        if 'loss' in each
    ]


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_trains_and_is_tested(method, phrases, run_tool, tmp_path, tiny_clip):
    clip = tiny_clip(image_size=224, patch_size=16)
    config = tmp_path / f'{method}.py'
    text = (CONFIGS / METHODS[method]).read_text()
    batch = 2 if re.search('8 GPUs x 2 images', text) else 4
    if STEPS >= 50 and batch > 2:
        batch = 16
    config.write_text(
        TINY.format(
            base=str(CONFIGS / METHODS[method]),
            clip=clip,
            batch=batch,
            steps=STEPS,
        )
    )
    run_tool('train.py', config, '--work-dir', tmp_path / 'train')
    losses = read_losses(tmp_path / 'train')
    assert len(losses) == STEPS
    for each in losses:
        assert all(math.isfinite(value) for value in each.values())
    if STEPS >= 50:
        first, last = (
            sum(each['loss'] for each in part) / 10
            for part in (losses[:10], losses[-10:])
        )
        print(f'{method}: {losses[0]} {first:.4f} -> {last:.4f} {losses[-1]}')
        assert last < first

    checkpoint = tmp_path / 'train' / f'iter_{STEPS}.pth'
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    has_teacher = any(name.startswith('teacher.') for name in weights)
    assert has_teacher is (method in ('regionclip', 'clipself', 'sffclip'))
    for name, options in (
        (config, ['model.predictors.boxes.classifier.templates=simple']),
        (CONFIGS / 'evaluation' / 'fgovd.py', [f'clip={clip}', *FGOVD]),
    ):
        out = tmp_path / f'{Path(name).stem}.json'
        run_tool(
            'test.py', name, checkpoint, '--work-dir', tmp_path / 'test',
            '--metrics-out', out, '--cfg-options', *options,
        )  # fmt: skip
        metrics = json.loads(out.read_text())
        if STEPS >= 50:
            print(method, metrics)
        expected = {
            'fgovd': {'fgovd/hard_top1', 'fgovd/trivial_top1'},
        }.get(Path(name).stem, {'box_cls/top1', 'retrieval/i2t_r1'})
        assert expected <= set(metrics)
        assert all(0 <= metrics[key] <= 100 for key in expected)
