"""Layer decay for models whose backbone alone knows of depths."""

import pytest
import tiny_clips
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from harmoclip_mm.models.towers import HarmoCLIPBackbone

CFG = dict(
    type='OptimWrapper',
    constructor='harmoclip_mm.BackboneLayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
    paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.0),
)


class Detector(nn.Module):
    """A backbone of three blocks, and heads that share a layer."""

    def __init__(self, backbone=None):
        super().__init__()
        self.backbone = backbone or HarmoCLIPBackbone(tiny_clips.VIT)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2)
        )
        self.heads[1][0] = self.heads[0][0]


@pytest.mark.parametrize('scope', ['mmdet', 'harmoclip_mm'])
def test_depths_of_the_backbone(scope):
    init_default_scope(scope)
    model = Detector()
    model.backbone.visual.transformer.resblocks[0].ln_2.requires_grad_(False)
    groups = build_optim_wrapper(model, CFG).optimizer.param_groups
    by_name = {group['param_name']: group for group in groups}
    trained = [x for x in model.parameters() if x.requires_grad]
    assert len(groups) == len(by_name) == len(trained)  # the shared ones once
    for name, rate in {
        'backbone.visual.positional_embedding': 0.0625,
        'backbone.visual.ln_pre.weight': 0.0625,
        'backbone.visual.transformer.resblocks.0.attn.in_proj_weight': 0.125,
        'backbone.visual.transformer.resblocks.2.mlp.c_proj.bias': 0.5,
        'backbone.visual.ln_post.weight': 1,
        'heads.0.0.weight': 1,
        'heads.1.1.bias': 1,
    }.items():
        assert by_name[name]['lr'] == rate, name
    assert by_name['heads.1.1.bias']['weight_decay'] == 0
    assert by_name['heads.0.0.weight']['weight_decay'] == 0.1


def test_the_model_itself_comes_first():
    init_default_scope('mmdet')
    model = Detector()
    model.get_layer_depth = lambda name: (0, 3)
    groups = build_optim_wrapper(model, CFG).optimizer.param_groups
    assert {group['lr'] for group in groups} == {0.25}


def test_a_backbone_without_depths_is_an_error():
    init_default_scope('mmdet')
    model = Detector(torch.nn.Conv2d(3, 4, 1))
    with pytest.raises(TypeError, match=r'neither Detector nor.*Conv2d has'):
        build_optim_wrapper(model, CFG)
