"""Feature pyramids against convolutions written out."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import init_default_scope


def build(scope='mmdet', **kwargs):
    init_default_scope(scope)
    cfg = dict(
        type='harmoclip_mm.SimpleFeaturePyramid', in_channels=8, out_channels=6
    )
    neck = MMDET_MODELS.build({**cfg, **kwargs})
    neck.init_weights()
    for index, weight in enumerate(neck.parameters()):
        # norms and biases too: each weight has to matter
        torch.nn.init.normal_(weight, std=0.3 + 0.01 * index)
    return neck


def norm(x, weights, name):
    """Layer norm over channels, of epsilon 1e-6."""
    x = x - x.mean(1, keepdim=True)
    x = x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()
    weight, bias = weights[f'{name}.weight'], weights[f'{name}.bias']
    return x * weight[:, None, None] + bias[:, None, None]


def scaled(x, weights):
    """The map by 4, 2, 1 and 1/2."""

    def double(x, name):
        weight, bias = weights[f'{name}.weight'], weights[f'{name}.bias']
        out = torch.einsum('bchw,cdij->bdhiwj', x, weight)
        return out.flatten(4, 5).flatten(2, 3) + bias[:, None, None]

    four = F.gelu(norm(double(x, 'scalers.0.0'), weights, 'scalers.0.1'))
    height, width = x.shape[2:]
    half = F.pad(x, (0, width % 2, 0, height % 2), value=float('-inf'))
    half = half.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
    return double(four, 'scalers.0.3'), double(x, 'scalers.1.0'), x, half


def lateral(x, weights, level):
    name = f'fpn.lateral_convs.{level}'
    return norm(
        F.conv2d(x, weights[f'{name}.conv.weight']), weights, f'{name}.ln'
    )


def output(x, weights, level):
    name = f'fpn.fpn_convs.{level}'
    x = F.conv2d(x, weights[f'{name}.conv.weight'], padding=1)
    return norm(x, weights, f'{name}.ln')


@pytest.mark.parametrize('size', [(4, 6), (5, 3), (1, 1)])
@pytest.mark.parametrize('several', [False, True])
def test_equals_the_operations(size, several):
    neck = build(num_outs=5).double()
    weights = dict(neck.named_parameters())
    maps = torch.randn(4, 2, 8, *size, dtype=torch.float64)
    with torch.no_grad():
        found = neck(tuple(maps) if several else (maps[0],))
        for level in range(4):
            x = scaled(maps[level if several else 0], weights)[level]
            expected = output(lateral(x, weights, level), weights, level)
            torch.testing.assert_close(found[level], expected)
        assert torch.equal(found[4], found[3][:, :, ::2, ::2])
    sides = [
        tuple(-(-side * scale // 4) for side in size)
        for scale in (16, 8, 4, 2, 1)
    ]
    assert [tuple(each.shape[2:]) for each in found] == sides
    assert all(each.is_contiguous() for each in found)


def test_top_down_adds_coarser_levels():
    neck = build(top_down=True).double()
    weights = dict(neck.named_parameters())
    maps = tuple(torch.randn(4, 1, 8, 5, 6, dtype=torch.float64))
    with torch.no_grad():
        found = neck(maps)
        above = None
        for level in (3, 2, 1, 0):
            x = scaled(maps[level], weights)[level]
            x = lateral(x, weights, level)
            if above is not None:
                rows, columns = (
                    torch.arange(side) * other // side
                    for side, other in zip(x.shape[2:], above.shape[2:])
                )
                x = x + above[:, :, rows][:, :, :, columns]
            above = x
            torch.testing.assert_close(found[level], output(x, weights, level))
    plain = build()
    assert plain.state_dict().keys() == neck.state_dict().keys()


@pytest.mark.parametrize('scope', ['mmdet', 'harmoclip_mm'])
def test_scales_and_norms_by_config(scope):
    neck = build(
        scope,
        scale_factors=(2, 0.25),
        num_outs=3,
        norm_cfg=dict(type='GN', num_groups=2),
    )
    outs = neck([torch.randn(2, 8, 7, 9)])
    assert [tuple(out.shape) for out in outs] == [
        (2, 6, 14, 18),
        (2, 6, 2, 3),
        (2, 6, 1, 2),
    ]


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(scale_factors=(4, 3)), 'scale 3 of scale_factors is no power'),
        (dict(scale_factors=(0,)), 'scale 0 of scale_factors is no power'),
        (dict(scale_factors=()), 'there must be one'),
        (dict(num_outs=3), 'num_outs 3 must be at least .*, 4'),
        (dict(in_channels=6), '6 channels cannot be halved 2 times'),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_another_number_of_maps_is_an_error():
    with pytest.raises(ValueError, match=r'one map or 4, but .* gave 2'):
        build()([torch.randn(1, 8, 2, 2)] * 2)
