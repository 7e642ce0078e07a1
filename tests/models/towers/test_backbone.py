"""Vision towers of every family against open_clip's own and float64 paths."""

import copy

import numpy as np
import open_clip
import pytest
import tiny_clips
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.model import ExponentialMovingAverage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models import HarmoCLIPBackbone
from harmoclip_mm.models.towers.families import resize_pos_embed

TRANSFORMERS, ALL = sorted(tiny_clips.TRANSFORMERS), sorted(tiny_clips.ALL)
MODES = ('value', 'token')
BY_CLS = ('eva02', 'mobileclip', 'vit', 'vit_quickgelu')


def build(name, **kwargs):
    """A tiny tower whose weights all matter, from inside an mmdet config."""
    clip = copy.deepcopy(tiny_clips.ALL[name])
    clip['vision_cfg'].update(kwargs.pop('vision_cfg', {}))
    cfg = dict(type='harmoclip_mm.HarmoCLIPBackbone', clip=clip, **kwargs)
    tower = MMDET_MODELS.build(cfg)
    tower.init_weights()
    tiny_clips.shake(tower.visual)
    return tower.eval()


def reference(tower, size):
    """open_clip's own tower of another input size, with the same weights."""
    spec = tower.spec
    cfg = copy.deepcopy(spec.model_cfg)
    vision = cfg['vision_cfg']
    if not cfg.get('custom_text'):  # timm's are resized after their weights
        vision['image_size'] = size
    if isinstance(vision.get('layers'), list):
        vision['image_size'] = spec.img_size[0]
    theirs = open_clip.model._build_vision_tower(
        cfg['embed_dim'], vision, cfg.get('quick_gelu', False)
    ).eval()
    state = tower.visual.state_dict()
    if 'positional_embedding' in state:
        # as open_clip's `resize_pos_embed`, which compares numbers only
        saved, patch = state['positional_embedding'], tower.patch_size
        grid = [each // patch for each in spec.img_size]
        resized = F.interpolate(
            saved[1:].t().reshape(1, -1, *grid),
            size=[each // patch for each in size],
            mode='bicubic',
            antialias=True,
            align_corners=False,
        )
        resized = resized[0].flatten(1).t()
        state['positional_embedding'] = torch.cat([saved[:1], resized])
    theirs.load_state_dict(state, strict=True)
    trunk = getattr(theirs, 'trunk', None)
    if hasattr(trunk, 'set_input_size') and size != spec.img_size:
        theirs.set_input_size(size)
    if hasattr(theirs, 'attnpool'):
        pool, side = theirs.attnpool, spec.img_size[0] // 32
        grid = tuple(each // 32 for each in size)
        pool.positional_embedding.data = resize_pos_embed(
            pool.positional_embedding.data, (side, side), grid, 1
        )
    return theirs


def padded(img, side):
    """Zeros at the right and bottom, to whole cells."""
    height, width = img.shape[-2:]
    return F.pad(img, (0, -width % side, 0, -height % side))


def assert_same(one, other, bound=1e-5):
    """Equal to 1e-5 of the largest entry, the project's bound."""
    scale = other.abs().max()
    torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=bound)


class LargestTensor(TorchDispatchMode):
    """Keeps the number of entries of the largest tensor that was made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in tree_flatten(out)[0]:
            if isinstance(each, torch.Tensor):
                self.size = max(self.size, each.numel())
        return out


@pytest.mark.parametrize('name', ALL)
def test_pooled_equals_open_clip(name):
    """At its own size, larger, smaller, not square, no multiple of a cell,
    and on another grid of the same number of patches."""
    tower = build(name)
    cell, (side, _) = tower.patch_size, tower.img_size
    sizes = [(side, side), (2 * side, 2 * side), (cell, cell)]
    sizes += [(side + cell, 3 * cell), (side + 3, side - 3)]
    sizes += [(side // 2, side * 2)] if name in TRANSFORMERS else []
    for size in sizes:
        img = torch.randn(2, 3, *size)
        whole = padded(img, cell)
        theirs = reference(tower, tuple(whole.shape[-2:]))
        with torch.no_grad():
            expected = theirs(whole)
            features = tower.encode(img)
            assert_same(features.pooled, expected)
            alone = tower.encode(img, with_dense=False)
            assert alone.dense is None
            assert_same(alone.pooled, expected)
        grid = tuple(each // cell for each in whole.shape[-2:])
        assert features.dense.shape == (2, tower.out_dims, *grid)


@pytest.mark.parametrize('name', ALL)
def test_nothing_runs_for_nothing(name):
    tower = build(name)
    tower.family.embed = None
    assert tower.encode(None, False, False) == (None, None)


@pytest.mark.parametrize('name', TRANSFORMERS)
@pytest.mark.parametrize('mode', MODES)
def test_dense_mode_does_not_touch_the_pool(name, mode):
    tower, other = build(name), build(name, dense_mode=mode)
    other.load_state_dict(tower.state_dict())
    img = torch.randn(1, 3, 24, 40)
    with torch.no_grad():
        assert_same(other.encode(img).pooled, tower.encode(img).pooled)


@pytest.mark.parametrize('name', ALL)
def test_maps_equal_open_clip(name):
    depth = build(name).num_layers
    tower = build(name, out_indices=range(depth))
    theirs = reference(tower, tower.img_size)
    img = torch.randn(2, 3, *tower.img_size)
    with torch.no_grad():
        maps = tower(img)
        expected = theirs.forward_intermediates(img, intermediates_only=True)
    expected = expected['image_intermediates'][-depth:]
    assert len(maps) == len(expected) == depth
    assert tuple(each.shape[1] for each in maps) == tower.block_dims
    last = depth - 1 if name == 'fastvit' else depth  # its final convolution
    for one, other in zip(maps[:last], expected[:last]):
        assert_same(one, other)


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_token_map_equals_open_clips_normed_output(name):
    """Final norm by open_clip, and the projection written out."""
    tower = build(name, dense_mode='token')
    theirs = reference(tower, tower.img_size)
    img = torch.randn(2, 3, *tower.img_size)
    with torch.no_grad():
        out = theirs.forward_intermediates(img, normalize_intermediates=True)
        out = out['image_intermediates'][-1].permute(0, 2, 3, 1)
        if hasattr(theirs, 'proj'):
            expected = out @ theirs.proj
        else:
            expected = theirs.head(theirs.trunk.head(out))
        dense = tower.encode(img, with_pooled=False).dense
    assert_same(dense, expected.permute(0, 3, 1, 2))


def norm(x, module):
    """Layer norm written out."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    out = centred / (variance + module.eps).sqrt()
    return out * module.weight + module.bias


def gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def plain_input(tower, img):
    """Input of the last block by open_clip's own blocks."""
    out = reference(tower, tower.img_size).double()
    last = len(tower.family.blocks) - 2
    found = out.forward_intermediates(
        img, indices=[last], intermediates_only=True
    )['image_intermediates'][0]
    return found.flatten(2).transpose(1, 2)


@pytest.mark.parametrize('name', ['vit', 'vit_quickgelu'])
def test_value_map_of_vit_equals_float64_path(name):
    """Each patch keeps its own value: written out without our layers."""
    tower = build(name).double()
    img = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    visual = tower.visual
    block = visual.transformer.resblocks[-1]
    with torch.no_grad():
        x = plain_input(tower, img)
        value = norm(x, block.ln_1) @ block.attn.in_proj_weight[96:].t()
        value = value + block.attn.in_proj_bias[96:]
        out = block.attn.out_proj
        x = x + value @ out.weight.t() + out.bias
        hidden = norm(x, block.ln_2) @ block.mlp.c_fc.weight.t()
        hidden = hidden + block.mlp.c_fc.bias
        if name == 'vit':
            hidden = gelu(hidden)
        else:
            hidden = hidden / (1 + torch.exp(-1.702 * hidden))
        x = x + hidden @ block.mlp.c_proj.weight.t() + block.mlp.c_proj.bias
        expected = norm(x, visual.ln_post) @ visual.proj
        dense = tower.encode(img, with_pooled=False).dense
    torch.testing.assert_close(
        dense.flatten(2).transpose(1, 2), expected, rtol=1e-9, atol=1e-9
    )


def test_value_map_of_eva02_equals_float64_path():
    tower = build('eva02').double()
    img = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    trunk = tower.visual.trunk
    block = trunk.blocks[-1]

    def linear(x, module):
        return x @ module.weight.t() + module.bias

    with torch.no_grad():
        x = plain_input(tower, img)
        value = linear(norm(x, block.norm1), block.attn.v_proj)
        x = x + linear(norm(value, block.attn.norm), block.attn.proj)
        y = norm(x, block.norm2)
        gate = linear(y, block.mlp.fc1_g)
        hidden = gate / (1 + torch.exp(-gate)) * linear(y, block.mlp.fc1_x)
        x = x + linear(norm(hidden, block.mlp.norm), block.mlp.fc2)
        expected = linear(norm(x, trunk.norm), trunk.head)
        dense = tower.encode(img, with_pooled=False).dense
    # timm keeps rotary angles in float32
    assert_same(dense.flatten(2).transpose(1, 2), expected, 1e-6)


@pytest.mark.parametrize('name', ['siglip', 'pe'])
def test_value_map_of_attention_pools_is_the_pool_alone(name):
    """timm's own pool, whole, called on each patch as a sequence of one."""
    tower = build(name).double()
    img = torch.randn(2, 3, 32, 40, dtype=torch.float64)
    theirs = reference(tower, (32, 40)).double()
    with torch.no_grad():
        out = theirs.forward_intermediates(img, normalize_intermediates=True)[
            'image_intermediates'
        ][-1]
        patches = out.permute(0, 2, 3, 1).reshape(-1, 1, out.shape[1])
        alone = theirs.trunk.attn_pool(patches)
        expected = theirs.head(theirs.trunk.head(alone))
        dense = tower.encode(img).dense.permute(0, 2, 3, 1).flatten(0, 2)
    assert_same(dense, expected, 1e-6)


def test_dense_map_of_an_average_is_each_place_alone():
    """CLIPA and ConvNeXt: where an average ends in a linear map and a norm
    before it, the mean of the dense map is the image embedding."""
    tower = build('clipa', vision_cfg=dict(final_ln_after_pool=False))
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = tower.encode(img)
        assert_same(features.dense.mean((2, 3)), features.pooled)
        # one place: pool and map are the same
        for name in ('convnext', 'fastvit'):
            one = build(name)
            small = torch.randn(2, 3, one.patch_size, one.patch_size)
            features = one.encode(small)
            assert_same(features.dense[:, :, 0, 0], features.pooled)


def test_dense_map_of_resnet_is_value_and_projection():
    tower = build('resnet').double()
    img = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        (x,) = tower(img)
        pool = tower.visual.attnpool
        value = torch.einsum('bchw,dc->bdhw', x, pool.v_proj.weight)
        value = value + pool.v_proj.bias[:, None, None]
        expected = torch.einsum('bchw,dc->bdhw', value, pool.c_proj.weight)
        expected = expected + pool.c_proj.bias[:, None, None]
        torch.testing.assert_close(tower.encode(img).dense, expected)


@pytest.mark.parametrize('name', ALL)
def test_gradients_reach_every_trained_parameter(name):
    tower = build(name).train()
    features = tower.encode(torch.randn(2, 3, *tower.img_size))
    weights = torch.randn_like(features.pooled)
    (
        (features.pooled * weights).sum() + features.dense.square().sum()
    ).backward()
    for key, weight in tower.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, key


@pytest.mark.parametrize('name', TRANSFORMERS)
@pytest.mark.parametrize('mode', MODES)
def test_checkpointing_keeps_gradients(name, mode, saved_bytes):
    tower = build(name, dense_mode=mode, window_size=2).train()
    img = torch.randn(2, 3, 32, 48)
    grads, saved = [], []
    for with_cp in (False, True):
        tower.with_cp = with_cp
        tower.zero_grad()
        features = tower.encode(img)
        (features.pooled.square().sum() + features.dense.sum()).backward()
        grads.append([p.grad.clone() for p in tower.parameters()])
        saved.append(saved_bytes(lambda: tower.encode(img)))
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert saved[1] < saved[0] * 0.7


@pytest.mark.parametrize('name', ALL)
def test_freezing_and_layer_depth(name):
    tower = build(name, frozen_stages=1)
    depths = tower.num_layers + 2
    for key, weight in tower.named_parameters():
        depth, total = tower.get_layer_depth(f'backbone.{key}', 'backbone.')
        assert total == depths and 0 <= depth < depths
        assert weight.requires_grad == (depth > 1), key
    found = {tower.get_layer_depth(n)[0] for n, _ in tower.named_parameters()}
    assert found == set(range(depths))
    tower.train()
    training = [block.training for block in tower.family.blocks]
    assert training == [False] + [True] * (tower.num_layers - 1)
    assert all(p.requires_grad for p in build(name).parameters())


@pytest.mark.parametrize('name', ['fastvit', 'resnet'])
@pytest.mark.parametrize('stages', [0, 1, 4])
def test_statistics_of_what_is_frozen_do_not_drift(name, stages):
    """Those of the stem, and of blocks."""
    tower = build(name, frozen_stages=stages).train()
    before = {key: value.clone() for key, value in tower.named_buffers()}
    tower.encode(torch.randn(2, 3, 64, 64))
    for key, value in tower.named_buffers():
        frozen = tower.get_layer_depth(key)[0] <= stages
        assert torch.equal(value, before[key]) == frozen, key
    # and what another one froze
    tower.requires_grad_(False).train()
    before = {key: value.clone() for key, value in tower.named_buffers()}
    tower.encode(torch.randn(2, 3, 64, 64))
    for key, value in tower.named_buffers():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('name', TRANSFORMERS)
@pytest.mark.parametrize('size', [(40, 56), (37, 64)])
def test_windows_equal_masked_attention(name, size):
    """Block 0 in windows of 3 x 3, the others on the whole grid of 5 x 7 or
    5 x 8; rotary angles are those of the whole grid."""
    tower = build(
        name, window_size=3, global_indices=[1], out_indices=range(3)
    ).double()
    family, start = tower.family, tower.family.prefix
    img = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        maps, dense = tower.forward_with_dense(img)
        x, grid, context = family.embed(img)
        window = torch.tensor(
            [row // 3 * 99 + column // 3 for row, column in np.ndindex(grid)]
        )
        tokens = len(window) + start
        meet = torch.ones(tokens, tokens).bool()
        meet[start:, start:] = window[:, None] == window

        def attend(query, key, value, mask):
            scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            scores = scores.masked_fill(~mask, float('-inf'))
            return scores.softmax(-1) @ value

        for index, block in enumerate(family.blocks):
            mask = torch.ones_like(meet) if index else meet
            parts = family.project(block, x, context)
            x = family.finish(block, x, attend(*parts, mask))
            torch.testing.assert_close(
                maps[index].flatten(2), x[:, start:].transpose(1, 2)
            )
        torch.testing.assert_close(tower.encode(img).dense, dense)


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_windows_keep_weights_and_names(name):
    """A window of the whole grid changes nothing, a smaller one does."""
    tower = build(name)
    img = torch.randn(1, 3, 30, 41)
    with torch.no_grad():
        expected = [*tower(img), *tower.encode(img)]
        other = build(name, window_size=6, global_indices=())
        other.load_state_dict(tower.state_dict(), strict=True)
        for one, two in zip([*other(img), *other.encode(img)], expected):
            assert torch.equal(one, two)
        other = build(name, window_size=2, global_indices=())
        other.load_state_dict(tower.state_dict(), strict=True)
        assert not torch.equal(other(img)[0], expected[0])


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ['vit', 'siglip'])
def test_no_matrix_of_tokens_by_tokens(name, mode):
    """At 256 px one head's 1024 x 1024 weights would be a million entries."""
    tower = build(name, dense_mode=mode, window_size=7).train()
    img = torch.randn(1, 3, 256, 256)
    with LargestTensor() as largest:
        _, dense = tower.forward_with_dense(img)
        (tower.encode(img).pooled.sum() + dense.sum()).backward()
    assert dense.shape == (1, 24, 32, 32)
    assert largest.size <= 1025 * 192  # the MLP


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', TRANSFORMERS)
@pytest.mark.parametrize('out_indices', [(0, 2), (0, 1)])
def test_maps_and_dense_map_of_one_pass(name, mode, out_indices):
    tower = build(
        name, dense_mode=mode, out_indices=out_indices, window_size=2
    )
    img = torch.randn(2, 3, 30, 41)
    run, runs = tower._run, []
    tower._run = lambda index, *args: (runs.append(index), run(index, *args))[
        1
    ]
    with torch.no_grad():
        maps, dense = tower.forward_with_dense(img)
        assert runs.count(0) == runs.count(1) == 1
        expected = tower(img)
        torch.testing.assert_close(
            dense, tower.encode(img, with_pooled=False).dense
        )
    assert len(maps) == len(expected) == 2
    for one, other in zip(maps, expected):
        assert torch.equal(one, other)
    assert all(each.is_contiguous() for each in (*maps, dense))
    assert dense.shape == (2, 24, 4, 6)


@pytest.mark.parametrize('name', ['vit', 'resnet'])
def test_maps_come_in_the_order_that_is_asked_for(name):
    """Those of a transformer look alike: a neck would not notice."""
    img = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        first, second, third = build(name, out_indices=(0, 1, 2))(img)
        tower = build(name, out_indices=(2, 0, 1, 0))
        for maps in (tower(img), tower.forward_with_dense(img)[0]):
            assert len(maps) == 4
            assert all(map(torch.equal, maps, (third, first, second, first)))


@pytest.mark.parametrize('name', ['vit', 'convnext'])
def test_detectors_take_it_as_backbone(name):
    """mmdet's own neck runs on its maps, by config alone."""
    tower = build(name, out_indices=(1, -1))
    dims = [tower.block_dims[1], tower.block_dims[-1]]
    neck = MMDET_MODELS.build(
        dict(type='mmdet.FPN', in_channels=dims, out_channels=8, num_outs=2)
    )
    outs = neck(tower(torch.randn(1, 3, 64, 64)))
    assert len(outs) == 2 and all(out.shape[1] == 8 for out in outs)


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_weights_of_another_size_are_resized(name):
    """As open_clip and timm resize them, when loaded and when run."""
    tower = build(name)
    larger = build(name, img_size=(48, 64))
    larger.load_state_dict(tower.state_dict())
    theirs = reference(tower, (48, 64))
    assert larger.visual.state_dict().keys() == theirs.state_dict().keys()
    own = dict(larger.visual.named_parameters())[larger.family.pos_embed]
    other = dict(theirs.named_parameters())[larger.family.pos_embed]
    torch.testing.assert_close(own, other)
    img = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        assert_same(tower.encode(img).pooled, larger.encode(img).pooled)


@pytest.mark.parametrize('name', ['eva02', 'pe'])
def test_averages_are_taken_at_any_size(name):
    """Rotary angles are buffers, which mmengine's averages copy."""
    tower = build(name).train()
    average = ExponentialMovingAverage(tower)
    tower(torch.randn(1, 3, 48, 64))
    average.update_parameters(tower)
    tower(torch.randn(1, 3, 32, 32))
    average.update_parameters(tower)


@pytest.mark.parametrize('name', ['eva02', 'pe'])
def test_rotary_angles_of_a_grid_are_made_once(name):
    tower, img = build(name).train(), torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        expected = tower.encode(img).pooled
    angles = tower.family.embed(img).context
    assert tower.family.embed(img).context is angles
    # inference tensors would be refused by the backward
    tower.encode(img).pooled.sum().backward()
    assert tower.family.embed(torch.randn(1, 3, 32, 64)).context is not angles
    other = tower.double().encode(img.double()).pooled
    torch.testing.assert_close(other.float(), expected, rtol=1e-4, atol=1e-4)


def test_a_grid_of_as_many_patches_is_another_grid():
    """ViT-B/16 at (112, 448) has 7 x 28 = 14 x 14 patches; here 2 x 8."""
    positions = torch.randn(1 + 16, 6)
    other = resize_pos_embed(positions, (4, 4), (2, 8), 1)
    assert other.shape == positions.shape
    assert torch.equal(other[0], positions[0])
    assert not torch.allclose(other, positions)


@pytest.mark.parametrize('name', ['siglip', 'pe'])
def test_dense_head_is_a_trained_copy(name):
    """It begins as the shared pool; its gradient leaves that pool alone."""
    plain = build(name)
    tower = build(name, dense_head='copy').train()
    tower.load_state_dict(plain.state_dict())
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = plain.encode(img)
        for one, other in zip(tower.encode(img), expected):
            torch.testing.assert_close(one, other)
    tower.encode(img, with_pooled=False).dense.square().sum().backward()
    own = dict(tower.dense_pool.named_parameters())
    shared = dict(tower.family.attention_pool.named_parameters())
    trained = [n for n, p in own.items() if p.requires_grad]
    assert 'kv.weight' in trained and 'latent' not in trained
    assert all(own[n].grad is not None for n in trained)
    assert all(p.grad is None for p in shared.values())
    with torch.no_grad():
        tower.dense_pool.kv.weight.add_(1)
        torch.testing.assert_close(tower.encode(img).pooled, expected.pooled)
        assert not torch.allclose(tower.encode(img).dense, expected.dense)
    # a trained copy is kept by its own checkpoint
    again = build(name, dense_head='copy')
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again.dense_pool.kv.weight, tower.dense_pool.kv.weight)


@pytest.mark.parametrize(
    ('name', 'wrong', 'message'),
    [
        ('vit', dict(dense_mode='values'), r"'values'.*'value', 'token'"),
        ('vit', dict(out_indices=(0, 3)), r'out_indices \[0, 3\].* 3 blocks'),
        ('vit', dict(frozen_stages=4), 'frozen_stages 4 .* 3 blocks'),
        ('vit', dict(out_indices=()), 'at least one of out_indices'),
        ('vit', dict(window_size=-1), 'window_size -1 .*0 for full'),
        ('vit', dict(global_indices=(1, 3)), r'global_indices \[1, 3\]'),
        ('vit', dict(dense_head='copy'), 'attention pool'),
        ('siglip', dict(dense_head='new'), "dense_head 'new'"),
        ('convnext', dict(window_size=7), 'convolutional towers'),
        ('resnet', dict(img_size=(96, 64)), 'must be a square'),
    ],
)
def test_wrong_arguments(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(name, **wrong)


@pytest.mark.parametrize(
    ('clip', 'message'),
    [
        ('ViT-B-61', 'did you mean ViT-B-16'),
        ('coca_ViT-B-32', 'VisionTransformer.* cannot open'),
        ('swin_base_patch4_window7_224', 'SwinTransformer.* cannot open'),
        (dict(embed_dim=8), 'says no vision_cfg, text_cfg'),
    ],
)
def test_unknown_clips_are_one_sentence(clip, message):
    with pytest.raises(UsageError, match=message):
        HarmoCLIPBackbone(clip=clip)


def test_half_precision():
    for name in TRANSFORMERS:
        tower = build(name).bfloat16()
        features = tower.encode(torch.randn(1, 3, 24, 32).bfloat16())
        assert features.pooled.dtype == torch.bfloat16
        assert features.dense.dtype == torch.bfloat16


@pytest.mark.slow
def test_full_size_equals_open_clip(much_memory):
    """Of a SigLIP; ``checkpoints/test_full_size.py`` has the others."""
    tower = HarmoCLIPBackbone(clip='ViT-B-16-SigLIP2').eval()
    tiny_clips.shake(tower.visual)
    theirs = open_clip.model._build_vision_tower(
        tower.out_dims,
        dict(tower.spec.model_cfg['vision_cfg'], timm_model_pretrained=False),
        bool(tower.spec.model_cfg.get('quick_gelu')),
    ).eval()
    theirs.load_state_dict(tower.visual.state_dict(), strict=True)
    with torch.no_grad():
        img = torch.randn(1, 3, *tower.img_size)
        assert_same(tower.encode(img).pooled, theirs(img))
