"""One random start for several methods."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from harmoclip_mm.apis import UsageError, load_config
from harmoclip_mm.registry import MODELS

TOOL = 'model_converters/common_start.py'
CONFIGS = Path(__file__).parents[2] / 'configs'
CLIP = CONFIGS / 'baselines' / 'clip_tiny_shapes.py'
HARMOCLIP = CONFIGS / 'harmoclip_tiny_shapes.py'


def _weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_both_methods_load_the_start(tmp_path, run_tool, capsys):
    start = tmp_path / 'new' / 'start.pth'
    run_tool(TOOL, CLIP, HARMOCLIP, '--out', start, '--seed', 3)
    assert str(start) in capsys.readouterr().out
    weights = _weights(start)
    assert not any(key.startswith('heads.') for key in weights)
    init_default_scope('harmoclip_mm')
    for config in (CLIP, HARMOCLIP):
        model = MODELS.build(load_config(str(config)).model)
        keys = model.load_state_dict(weights, strict=False)
        assert not keys.unexpected_keys
        assert all(key.startswith('heads.') for key in keys.missing_keys)


def test_the_seed_decides(tmp_path, run_tool):
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        run_tool(TOOL, CLIP, '--out', tmp_path / name, '--seed', seed)
    a, b, c = (_weights(tmp_path / name) for name in 'abc')
    assert all(torch.equal(a[key], b[key]) for key in a)
    key = 'backbone.visual.transformer.resblocks.0.attn.in_proj_weight'
    assert not torch.equal(a[key], c[key])


def test_other_towers_are_refused(tmp_path, run_tool):
    other = tmp_path / 'other.py'
    other.write_text(
        f'_base_ = {str(HARMOCLIP)!r}\n'
        'clip = dict(vision_cfg=dict(patch_size=16))\n'
    )
    out = tmp_path / 'start.pth'
    with pytest.raises(UsageError) as error:
        run_tool(TOOL, CLIP, other, '--out', out)
    text = str(error.value)
    assert str(other) in text and 'cannot share a start' in text
    assert 'backbone.visual.p' in text and not out.exists()
