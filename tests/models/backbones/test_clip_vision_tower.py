"""What both vision towers do alike."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CFG = dict(
    arch=dict(
        embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192
    ),
    img_size=32,
    patch_size=8,
    out_dims=24,
    out_indices=(0, 1, 2),
)
MODES = ('value', 'token', 'qq+kk')


@pytest.fixture(params=['HarmoCLIPViT', 'HarmoCLIPEVA02'])
def build(request):
    """Builds a tower from inside an mmdet config."""
    init_default_scope('mmdet')

    def build_tower(**kwargs):
        cfg = dict(type=f'harmoclip_mm.{request.param}', **{**CFG, **kwargs})
        tower = MMDET_MODELS.build(cfg)
        tower.init_weights()
        return tower.eval()

    return build_tower


class LargestTensor(TorchDispatchMode):
    """Keeps the number of entries of the largest tensor that was made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor):
                self.size = max(self.size, each.numel())
        return out


@pytest.mark.parametrize('size', [(32, 56), (30, 41), (8, 8)])
def test_any_input_size(build, size):
    tower = build()
    img = torch.randn(1, 3, *size)
    grid = (-(-size[0] // 8), -(-size[1] // 8))
    with torch.no_grad():
        assert tower.encode(img).dense.shape == (1, 24, *grid)
        assert [each.shape[2:] for each in tower(img)] == [grid] * 3


@pytest.mark.parametrize('mode', MODES)
def test_checkpointing_keeps_gradients(build, mode, saved_bytes):
    tower = build(dense_mode=mode).train()
    img = torch.randn(2, 3, 32, 32)
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
    assert saved[1] < saved[0] / 2


def test_freezing_and_layer_depth(build):
    tower = build(frozen_stages=2)
    trained = {n for n, p in tower.named_parameters() if p.requires_grad}
    assert all(n.startswith(('layers.2', 'ln1', 'proj')) for n in trained)
    assert tower.get_layer_depth('backbone.pos_embed', 'backbone.')[0] == 0
    assert tower.get_layer_depth('pre_norm.weight') == (0, 5)
    tower.train()
    assert [layer.training for layer in tower.layers] == [False, False, True]
    assert tower.get_layer_depth('backbone.layers.0.x', 'backbone.')[0] == 1
    assert tower.get_layer_depth('backbone.proj.weight', 'backbone.') == (4, 5)
    assert all(p.requires_grad for p in build().parameters())


@pytest.mark.parametrize('mode', MODES)
def test_no_matrix_of_tokens_by_tokens(build, mode):
    """At 1024 px one head's 4097 x 4097 weights would be 16.8 M entries."""
    tower = build(dense_mode=mode, patch_size=16, img_size=224).train()
    img = torch.randn(1, 3, 1024, 1024)
    with LargestTensor() as largest:
        features = tower.encode(img)
        (features.pooled.sum() + features.dense.sum()).backward()
        tower(img)
    assert features.dense.shape == (1, 24, 64, 64)
    # the image itself is 3.1 M entries, the MLP's two halves 1.0 M
    assert largest.size <= img.numel()


def test_no_matrix_of_tokens_by_tokens_in_windows(build):
    """One block of 14 x 14 windows and a rest of 8, then a global one."""
    tower = build(
        patch_size=16, img_size=224, window_size=14, global_indices=1
    ).train()
    img = torch.randn(1, 3, 1024, 1024)
    with LargestTensor() as largest:
        maps, dense = tower.forward_with_dense(img)
        (dense.sum() + sum(each.sum() for each in maps)).backward()
        assert tower.encode(img).pooled.shape == (1, 24)
    assert largest.size <= img.numel()


@pytest.mark.parametrize('size', [(40, 56), (37, 64)])
def test_windows_equal_masked_attention(build, size):
    """Blocks 0 and 2 in windows of 3 x 3, blocks 1 and 3 on the whole grid
    of 5 x 7 or 5 x 8; rotary angles are those of the whole grid."""
    arch = dict(CFG['arch'], num_layers=4)
    tower = build(
        arch=arch, window_size=3, global_indices=[1], out_indices=range(4)
    ).double()
    img = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        maps, dense = tower.forward_with_dense(img)
        pooled = tower.encode(img).pooled
        x, grid = tower._embed(img)
        window = torch.tensor(
            [row // 3 * 99 + column // 3 for row, column in np.ndindex(grid)]
        )
        meet = torch.ones(len(window) + 1, len(window) + 1).bool()
        meet[1:, 1:] = window[:, None] == window

        def attend(query, key, value):
            scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            scores = scores.masked_fill(~meet, float('-inf'))
            return scores.softmax(-1) @ value

        context = tower._context(x, grid)
        for index, layer in enumerate(tower.layers):
            before = x
            x = layer(x, *context, attend=None if index % 2 else attend)
            torch.testing.assert_close(
                maps[index].flatten(2), x[:, 1:].transpose(1, 2)
            )
        cls_token, patches = layer.branch(before, True, 'value', *context)
        patches = tower.proj(tower.ln1(patches))
        torch.testing.assert_close(dense.flatten(2), patches.transpose(1, 2))
        torch.testing.assert_close(pooled, tower.proj(tower.ln1(cls_token)))


def test_windows_keep_weights_and_names(build):
    """A window of the whole grid, or no windowed block, changes nothing."""
    tower = build()
    img = torch.randn(1, 3, 30, 41)
    with torch.no_grad():
        expected = [*tower(img), *tower.encode(img)]
        for options in (
            dict(window_size=6, global_indices=()),
            dict(window_size=2),  # three blocks are three of the four subsets
        ):
            other = build(**options)
            other.load_state_dict(tower.state_dict(), strict=True)
            found = [*other(img), *other.encode(img)]
            for one, two in zip(found, expected):
                assert torch.equal(one, two)
        other = build(window_size=2, global_indices=())
        other.load_state_dict(tower.state_dict(), strict=True)
        assert not torch.equal(other(img)[0], expected[0])


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('out_indices', [(0, 2), (0, 1)])
def test_maps_and_dense_map_of_one_pass(build, mode, out_indices):
    tower = build(dense_mode=mode, out_indices=out_indices, window_size=2)
    img = torch.randn(2, 3, 30, 41)
    runs = []
    for index, layer in enumerate(tower.layers):
        layer.register_forward_hook(lambda *_, index=index: runs.append(index))
    with torch.no_grad():
        maps, dense = tower.forward_with_dense(img)
        assert runs[:2] == [0, 1] and runs.count(0) == runs.count(1) == 1
        expected = tower(img)
        torch.testing.assert_close(
            dense, tower.encode(img, with_pooled=False).dense
        )
    assert len(maps) == len(expected) == 2
    for one, other in zip(maps, expected):
        assert torch.equal(one, other)
    assert all(each.is_contiguous() for each in (*maps, dense))
    assert dense.shape == (2, 24, 4, 6)


def test_checkpointing_keeps_gradients_in_windows(build):
    tower = build(window_size=2, global_indices=()).train()
    img = torch.randn(2, 3, 24, 40)
    grads = []
    for with_cp in (False, True):
        tower.with_cp = with_cp
        tower.zero_grad()
        maps, dense = tower.forward_with_dense(img)
        (dense.square().sum() + sum(each.sum() for each in maps)).backward()
        grads.append({n: p.grad for n, p in tower.named_parameters()})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert torch.equal(grad, grads[1][name]), name


def test_detectors_take_it_as_backbone(build):
    """mmdet's own neck runs on its maps, by config alone."""
    tower = build(out_indices=(1, -1))
    neck = MMDET_MODELS.build(
        dict(type='FPN', in_channels=[48, 48], out_channels=8, num_outs=2)
    )
    outs = neck(tower(torch.randn(1, 3, 32, 32)))
    assert [tuple(out.shape) for out in outs] == [(1, 8, 4, 4)] * 2


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(dense_mode='values'), r"'values'.*'value', 'token'"),
        (dict(out_indices=(0, 3)), r'out_indices \[0, 3\].* 3 blocks'),
        (dict(frozen_stages=4), 'frozen_stages 4 .* 3 blocks'),
        (dict(out_indices=()), 'at least one of out_indices'),
        (dict(window_size=-1), 'window_size -1 .*0 for full attention'),
        (dict(global_indices=(1, 3)), r'global_indices \[1, 3\].* 3 blocks'),
        (dict(arch='huge-ish'), "no arch 'huge-ish'"),
    ],
)
def test_wrong_arguments(build, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


@pytest.mark.parametrize('out_indices', [(0, 2), (1,)])
def test_one_pass_gives_maps_and_the_dense_map(build, out_indices):
    tower = build(out_indices=out_indices)
    img = torch.randn(2, 3, 32, 56)
    with torch.no_grad():
        maps, dense = tower.forward_with_dense(img)
        expected = tower(img)
    assert len(maps) == len(expected) == len(out_indices)
    for one, other in zip(maps, expected):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(dense, tower.encode(img).dense)
