"""The vision tower against open_clip and a float64 value path."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models import HarmoCLIPViT

ARCH = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192)
RENAMES = (
    ('transformer.resblocks', 'layers'),
    ('ln_1', 'ln1'),
    ('ln_2', 'ln2'),
    ('attn.in_proj_', 'attn.qkv.'),
    ('attn.out_proj', 'attn.proj'),
    ('mlp.c_fc', 'ffn.layers.0.0'),
    ('mlp.c_proj', 'ffn.layers.1'),
    ('ln_pre', 'pre_norm'),
    ('ln_post', 'ln1'),
    ('conv1', 'patch_embed.projection'),
)


def build(**kwargs):
    cfg = dict(
        arch=ARCH,
        img_size=32,
        patch_size=8,
        out_dims=24,
        out_indices=(0, 1, 2),
    )
    tower = HarmoCLIPViT(**{**cfg, **kwargs})
    tower.init_weights()
    return tower.eval()


@pytest.fixture
def pair():
    """open_clip's tower with random weights, and ours with the same."""
    open_clip_model = pytest.importorskip('open_clip.model')
    theirs = open_clip_model._build_vision_tower(
        24,
        open_clip_model.CLIPVisionCfg(
            image_size=32, layers=3, width=48, head_width=16, patch_size=8
        ),
        quick_gelu=True,
    ).eval()
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in RENAMES:
            name = name.replace(old, new)
        if name == 'class_embedding':
            name, value = 'cls_token', value[None, None]
        elif name == 'positional_embedding':
            name, value = 'pos_embed', value[None]
        elif name == 'proj':
            name, value = 'proj.weight', value.t()
        state[name] = value
    ours = build()
    ours.load_state_dict(state, strict=True)
    return ours, theirs


def test_pooled_equals_open_clip(pair):
    ours, theirs = pair
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(img)
        for mode in ('value', 'token', 'qq+kk'):
            ours.dense_mode = mode
            pooled = ours.encode(img).pooled
            torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)
        alone = ours.encode(img, with_dense=False)
    assert alone.dense is None
    torch.testing.assert_close(alone.pooled, expected, rtol=1e-5, atol=1e-5)


def test_maps_equal_open_clip(pair):
    ours, theirs = pair
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = ours(img)
        expected = theirs.forward_intermediates(
            img, indices=3, intermediates_only=True, output_fmt='NCHW'
        )['image_intermediates']
    assert [tuple(each.shape) for each in maps] == [(2, 48, 4, 4)] * 3
    for one, other in zip(maps, expected):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_value_map_equals_float64_path(pair):
    """Each patch keeps its own value: written out without our layers."""
    ours, _ = pair
    ours = ours.double()
    img = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        dense = ours.encode(img, with_pooled=False).dense
        x, grid = ours._embed(img)
        for layer in ours.layers[:-1]:
            x = layer(x)
        last = {k: v.double() for k, v in ours.layers[-1].named_parameters()}
        x = x[:, 1:]
        y = F.layer_norm(x, (48,), last['ln1.weight'], last['ln1.bias'], 1e-5)
        value = y @ last['attn.qkv.weight'][96:].t()
        value = value + last['attn.qkv.bias'][96:]
        x = x + value @ last['attn.proj.weight'].t() + last['attn.proj.bias']
        y = F.layer_norm(x, (48,), last['ln2.weight'], last['ln2.bias'], 1e-5)
        y = y @ last['ffn.layers.0.0.weight'].t() + last['ffn.layers.0.0.bias']
        y = y / (1 + torch.exp(-1.702 * y))
        x = x + y @ last['ffn.layers.1.weight'].t() + last['ffn.layers.1.bias']
        norm = ours.ln1
        x = F.layer_norm(x, (48,), norm.weight, norm.bias, 1e-5)
        expected = (x @ ours.proj.weight.t()).transpose(1, 2)
    torch.testing.assert_close(
        dense, expected.unflatten(2, grid), rtol=1e-10, atol=1e-10
    )


def test_qq_kk_equals_explicit_softmax():
    tower = build(dense_mode='qq+kk').double()
    img = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        x, _ = tower._embed(img)
        for layer in tower.layers[:-1]:
            x = layer(x)
        last = tower.layers[-1]
        qkv = last.attn.qkv(last.ln1(x)).reshape(1, 17, 3, 3, 16)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scale = 16**-0.5
        weights = (query @ query.transpose(-1, -2) * scale).softmax(-1)
        weights = weights + (key @ key.transpose(-1, -2) * scale).softmax(-1)
        mixed = (weights @ value).transpose(1, 2).reshape(1, 17, 48)
        out = x + last.attn.proj(mixed)
        out = last.ffn(last.ln2(out), identity=out)[:, 1:]
        expected = tower.proj(tower.ln1(out)).transpose(1, 2)
        dense = tower.encode(img, with_pooled=False).dense
    torch.testing.assert_close(dense.flatten(2), expected)


def test_position_embeddings_resize_as_open_clip(pair):
    open_clip_model = pytest.importorskip('open_clip.model')
    ours, theirs = pair
    state = {'visual.positional_embedding': theirs.positional_embedding}
    larger = build(img_size=(48, 64))
    larger.load_state_dict(ours.state_dict())

    class Holder(torch.nn.Module):
        visual = torch.nn.Module()

    Holder.visual.grid_size = (6, 8)
    open_clip_model.resize_pos_embed(state, Holder())
    torch.testing.assert_close(
        larger.pos_embed[0], state['visual.positional_embedding']
    )
    # and the same when the input, not the checkpoint, has another size
    img = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            ours.encode(img).pooled, larger.encode(img).pooled
        )
