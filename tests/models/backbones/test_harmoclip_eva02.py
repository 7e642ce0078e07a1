"""EVA-02's vision tower against timm, open_clip and a float64 value path."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models import HarmoCLIPEVA02
from harmoclip_mm.models.layers import rotary_angles, rotate_patches

ARCH = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=128)
# 6 heads 8 wide: other numbers of heads, of frequencies and of channels
NARROW = dict(
    embed_dims=48, num_layers=2, num_heads=6, feedforward_channels=128
)
RENAMES = (
    ('patch_embed.proj', 'patch_embed.projection'),
    ('blocks', 'layers'),
    ('norm1', 'ln1'),
    ('norm2', 'ln2'),
    ('attn.norm', 'attn_norm'),
    ('attn.', ''),
    ('mlp.fc1', 'ffn.w12'),
    ('mlp.norm', 'ffn.norm'),
    ('mlp.fc2', 'ffn.w3'),
    ('head', 'proj'),
)


def build(**kwargs):
    cfg = dict(
        arch=ARCH,
        img_size=32,
        patch_size=8,
        out_dims=24,
        out_indices=(0, 1, 2),
    )
    tower = HarmoCLIPEVA02(**{**cfg, **kwargs})
    tower.init_weights()
    return tower.eval()


def randomise(model, std=0.1):
    """Weights of which none is 0 or 1, so that each one matters."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        is_norm = 'norm' in name and name.endswith('weight')
        weight.data.copy_(noise * std + (1 if is_norm else 0))
    return model.eval()


def from_timm(state):
    """timm's names to ours; the two gated halves become one matrix."""
    renamed = {}
    for name, value in state.items():
        if name.startswith('norm.'):
            name = f'ln1.{name[5:]}'
        for old, new in RENAMES:
            name = name.replace(old, new)
        renamed[name] = value
    for gate in [name for name in renamed if 'w12_g' in name]:
        halves = renamed.pop(gate), renamed.pop(gate.replace('_g', '_x'))
        renamed[gate.replace('_g', '')] = torch.cat(halves)
    return renamed


def timm_tower(arch=ARCH, **kwargs):
    eva = pytest.importorskip('timm.models.eva')
    cfg = dict(
        img_size=32,
        patch_size=8,
        num_classes=24,
        global_pool='token',
        embed_dim=arch['embed_dims'],
        depth=arch['num_layers'],
        num_heads=arch['num_heads'],
        mlp_ratio=4 * 2 / 3,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
    )
    return randomise(eva.Eva(**{**cfg, **kwargs}))


def pair(arch=ARCH, **kwargs):
    """timm's tower with random weights, and ours with the same."""
    theirs = timm_tower(arch, **kwargs)
    ours = build(arch=arch, out_indices=range(arch['num_layers']))
    ours.load_state_dict(from_timm(theirs.state_dict()), strict=True)
    return ours, theirs


def assert_same(one, other):
    """Equal to 1e-5 of the largest entry, the project's bound."""
    scale = other.abs().max()
    torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize('arch', [ARCH, NARROW])
def test_pooled_equals_timm(arch):
    ours, theirs = pair(arch)
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(img)
        for mode in ('value', 'token', 'qq+kk'):
            ours.dense_mode = mode
            assert_same(ours.encode(img).pooled, expected)
        alone = ours.encode(img, with_dense=False)
    assert alone.dense is None
    assert_same(alone.pooled, expected)


@pytest.mark.parametrize('arch', [ARCH, NARROW])
def test_maps_equal_timm(arch):
    ours, theirs = pair(arch)
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = ours(img)
        expected = theirs.forward_intermediates(img, intermediates_only=True)
    assert len(maps) == len(expected) == arch['num_layers']
    for one, other in zip(maps, expected):
        assert_same(one, other)


@pytest.mark.parametrize('size', [(48, 64), (16, 24), (128, 32)])
def test_other_sizes_equal_timm(size):
    """Both position embeddings follow the input, as ``set_input_size`` of
    open_clip and timm makes them do."""
    ours, theirs = pair()
    theirs.set_input_size(img_size=size)
    img = torch.randn(2, 3, *size)
    with torch.no_grad():
        assert_same(ours.encode(img).pooled, theirs(img))
        expected = theirs.forward_intermediates(img, intermediates_only=True)
        for one, other in zip(ours(img), expected):
            assert_same(one, other)


def test_odd_sizes_equal_timm():
    """What is no multiple of the patch is padded at the right and bottom."""
    ours, theirs = pair(dynamic_img_size=True, dynamic_img_pad=True)
    img = torch.randn(1, 3, 30, 41)
    with torch.no_grad():
        features = ours.encode(img)
        assert_same(features.pooled, theirs(img))
    assert features.dense.shape == (1, 24, 4, 6)


def test_checkpoint_of_another_size():
    ours, theirs = pair()
    theirs.set_input_size(img_size=(48, 64))
    larger = build(img_size=(48, 64))
    larger.load_state_dict(ours.state_dict())
    torch.testing.assert_close(larger.pos_embed, theirs.pos_embed)
    assert not [name for name in ours.state_dict() if 'rope' in name]


def test_value_map_equals_float64_path():
    """Each patch keeps its own value: written out without our layers."""
    ours, _ = pair()
    ours = ours.double()
    img = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def norm(x, name):
        weight, bias = last[f'{name}.weight'], last[f'{name}.bias']
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred / (variance + 1e-6).sqrt() * weight + bias

    def linear(x, name):
        return x @ last[f'{name}.weight'].t() + last[f'{name}.bias']

    with torch.no_grad():
        dense = ours.encode(img, with_pooled=False).dense
        x, grid = ours._embed(img)
        for layer in ours.layers[:-1]:
            x = layer(x, *ours._context(x, grid))
        last = ours.layers[-1].state_dict()
        last.update(
            {f'final.{k}': v for k, v in ours.ln1.state_dict().items()}
        )
        last.update(
            {f'head.{k}': v for k, v in ours.proj.state_dict().items()}
        )
        x = x[:, 1:]
        value = linear(norm(x, 'ln1'), 'v_proj')
        x = x + linear(norm(value, 'attn_norm'), 'proj')
        gate, hidden = linear(norm(x, 'ln2'), 'ffn.w12').split(128, dim=-1)
        hidden = gate / (1 + torch.exp(-gate)) * hidden
        x = x + linear(norm(hidden, 'ffn.norm'), 'ffn.w3')
        expected = linear(norm(x, 'final'), 'head').transpose(1, 2)
    torch.testing.assert_close(
        dense, expected.unflatten(2, grid), rtol=1e-10, atol=1e-10
    )


def test_qq_kk_equals_explicit_softmax():
    tower = randomise(build(dense_mode='qq+kk')).double()
    img = torch.randn(1, 3, 32, 32, dtype=torch.float64)

    def turn(x):
        """Rotary embedding as a product of complex numbers."""
        bands = 10000 ** -(torch.arange(4, dtype=torch.float64) / 4)
        row, column = torch.arange(16) // 4 * 4, torch.arange(16) % 4 * 4
        angles = torch.cat([row[:, None] * bands, column[:, None] * bands], 1)
        pairs = torch.view_as_complex(x[:, :, 1:].unflatten(-1, (8, 2)))
        turned = pairs * torch.polar(torch.ones_like(angles), angles)
        turned = torch.view_as_real(turned).flatten(-2)
        return torch.cat([x[:, :, :1], turned], dim=2)

    with torch.no_grad():
        x, grid = tower._embed(img)
        for layer in tower.layers[:-1]:
            x = layer(x, *tower._context(x, grid))
        last = tower.layers[-1]
        query, key, value = (
            linear(last.ln1(x)).reshape(1, 17, 3, 16).transpose(1, 2)
            for linear in (last.q_proj, last.k_proj, last.v_proj)
        )
        mixed = 0
        for each in (turn(query), turn(key)):
            scores = each @ each.transpose(-1, -2) * 16**-0.5
            mixed = mixed + scores.softmax(-1) @ value
        mixed = last.attn_norm(mixed.transpose(1, 2).reshape(1, 17, 48))
        out = x + last.proj(mixed)
        out = last.ffn(last.ln2(out), identity=out)[:, 1:]
        expected = tower.proj(tower.ln1(out)).transpose(1, 2)
        dense = tower.encode(img, with_pooled=False).dense
    torch.testing.assert_close(dense.flatten(2), expected)


def test_rotary_angles_by_hand():
    # 8 channels: 2 frequencies an axis, 1 and 10000^(-1/2) = 0.01. A grid of
    # 2 x 4 stands at rows 0, 8 and columns 0, 4, 8, 12 of the 16 x 16.
    cos, sin = rotary_angles((2, 4), head_dims=8)
    angles = torch.tensor([8, 0.08, 12, 0.12])  # of the last patch
    torch.testing.assert_close(cos[-1], angles.cos())
    torch.testing.assert_close(sin[-1], angles.sin())
    # the unit vector of the first pair turns from (1, 0) to (cos, sin)
    x = torch.zeros(1, 1, 9, 8)
    x[..., 0] = 1
    turned = rotate_patches(x, cos, sin)
    assert turned[0, 0, 0].tolist() == x[0, 0, 0].tolist()  # CLS stays
    expected = torch.zeros(8)
    expected[0], expected[1] = angles[0].cos(), angles[0].sin()
    torch.testing.assert_close(turned[0, 0, -1], expected)


def test_half_precision_keeps_float32_angles():
    """Rounding positions to bfloat16 would move patches by whole cells."""
    like = torch.zeros(1, dtype=torch.bfloat16)
    exact = rotary_angles((64, 64), 16)
    for one, other in zip(rotary_angles((64, 64), 16, like=like), exact):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    features = build().bfloat16().encode(torch.randn(1, 3, 32, 32).bfloat16())
    assert features.pooled.dtype == features.dense.dtype == torch.bfloat16


def test_first_weights():
    """0.02, and the last matrices of block n by sqrt(2 n) less."""
    arch = dict(ARCH, embed_dims=192, feedforward_channels=512)
    tower = build(arch=arch)
    for depth, layer in enumerate(tower.layers, 1):
        assert layer.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)
        for last in (layer.proj, layer.ffn.w3):
            expected = 0.02 / (2 * depth) ** 0.5
            assert last.weight.std().item() == pytest.approx(expected, rel=0.1)
        assert not layer.ffn.w12.bias.any()
        assert layer.attn_norm.weight.eq(1).all()


def test_stochastic_depth_grows():
    tower = build(drop_path_rate=0.2)
    rates = [layer.drop_path.drop_prob for layer in tower.layers]
    assert rates == pytest.approx([0, 0.1, 0.2])
    assert tower.layers[-1].ffn.dropout_layer.drop_prob == rates[-1]


def test_heads_that_cannot_turn():
    """Half of a head's channels turn with x, half with y, in pairs."""
    with pytest.raises(ValueError, match='48 channels are split into 8 heads'):
        build(arch=dict(ARCH, num_heads=8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'cfg'),
    [
        (
            'EVA02-B-16',
            dict(arch='base', img_size=224, patch_size=16, out_dims=512),
        ),
        (
            'EVA02-L-14-336',
            dict(arch='large', img_size=336, patch_size=14, out_dims=768),
        ),
    ],
)
def test_full_size_equals_open_clip(name, cfg):
    open_clip = pytest.importorskip('open_clip')
    theirs = open_clip.create_model(name, pretrained=None).visual
    theirs = randomise(theirs, std=0.02)
    state = from_timm(theirs.trunk.state_dict())
    depth = len(theirs.trunk.blocks)
    ours = HarmoCLIPEVA02(**cfg, out_indices=range(depth)).eval()
    ours.load_state_dict(state, strict=True)
    side = cfg['img_size']
    with torch.no_grad():
        for size in ((side, side), (224, 336)):
            theirs.set_input_size(size)
            img = torch.randn(1, 3, *size)
            expected = theirs.forward_intermediates(img)
            maps = ours(img)
            assert len(maps) == len(expected['image_intermediates']) == depth
            for one, other in zip(maps, expected['image_intermediates']):
                assert_same(one, other)
            pooled = ours.encode(img).pooled
            assert_same(pooled, expected['image_features'])
            assert_same(
                F.normalize(pooled, dim=-1),
                F.normalize(expected['image_features'], dim=-1),
            )
