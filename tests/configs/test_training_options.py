"""EMA, layer decay and a frozen text tower by config, really trained."""

from pathlib import Path

import pytest
import torch

from harmoclip_mm.models.checkpoints import load_weights_only

REPOSITORY = Path(__file__).resolve().parents[2]
VISION = 'backbone.visual'
CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(with_cp=True, frozen_stages=1),
    text_encoder=dict(frozen=True))
custom_hooks = [
    dict(type='DataHealthHook'), dict(type='EMAHook', momentum=0.25)]
optim_wrapper = dict(
    constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters=3, val_begin=4)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
"""


def test_options_train_together(tmp_path, run_tool, made_coco, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(made_coco))
    monkeypatch.delenv('COCO_PHRASES', raising=False)
    base = str(REPOSITORY / 'configs' / 'harmoclip_tiny_photos.py')
    (tmp_path / 'options.py').write_text(CONFIG.format(base=base))
    run_tool('train.py', tmp_path / 'options.py', '--work-dir', tmp_path)
    first, second, third = (
        load_weights_only(str(tmp_path / f'iter_{step}.pth'))
        for step in (1, 2, 3)
    )
    # mmengine swaps them: `state_dict` is the average, `ema_state_dict` the
    # weights that are trained
    trained = [
        {
            name[len('module.') :]: value
            for name, value in each['ema_state_dict'].items()
            if name.startswith('module.')
        }
        for each in (first, second, third)
    ]
    for name, average in first['state_dict'].items():
        frozen = name.startswith(
            (
                'text_encoder.',
                f'{VISION}.transformer.resblocks.0.',
                f'{VISION}.class_embedding',
            )
        )
        one, two, three = (each[name] for each in trained)
        if frozen:
            assert torch.equal(one, three), name
            continue
        assert torch.equal(average, one)  # the first average is a copy
        expected = 0.75 * one + 0.25 * two
        found = second['state_dict'][name]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(
            third['state_dict'][name], 0.75 * expected + 0.25 * three
        )
    moved = trained[2][f'{VISION}.proj'] - trained[1][f'{VISION}.proj']
    assert moved.abs().max() > 0
    groups = third['optimizer']['param_groups']
    rates = sorted({group['lr'] for group in groups})
    # blocks 2 to 4 of 4 are trained, then projection, head, temperatures
    assert [rate / rates[-1] for rate in rates] == pytest.approx(
        [0.75**3, 0.75**2, 0.75, 1]
    )
