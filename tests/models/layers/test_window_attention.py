"""Windows against full attention with a mask, written out."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.layers import spread_evenly, window_attention


def masked_attention(query, key, value, grid, window_size, prefix=1):
    """Every pair of tokens scored; those of two windows do not meet."""
    rows = torch.arange(grid[0])[:, None].expand(grid) // window_size
    columns = torch.arange(grid[1]).expand(grid) // window_size
    window = (rows * 1000 + columns).flatten()
    tokens = len(window) + prefix
    meet = torch.ones(tokens, tokens, dtype=torch.bool)
    meet[prefix:, prefix:] = window[:, None] == window
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.masked_fill(~meet, float('-inf')).softmax(-1) @ value


def tokens(grid, dtype=torch.float64, prefix=1):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 2, prefix + grid[0] * grid[1], 4)
    return torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize(
    ('grid', 'window_size'),
    [
        ((4, 4), 2),
        ((5, 7), 2),  # a rest at both sides
        ((4, 7), 2),  # at the right
        ((5, 4), 4),  # at the bottom
        ((3, 8), 4),  # a grid lower than a window
        ((8, 1), 3),
        ((3, 2), 1),
    ],
)
def test_equals_masked_full_attention(grid, window_size):
    parts = [x.requires_grad_() for x in tokens(grid)]
    found = window_attention(*parts, grid, window_size)
    expected = masked_attention(*parts, grid, window_size)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous()
    weights = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), parts),
        torch.autograd.grad((expected * weights).sum(), parts),
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('prefix', [0, 1, 5])
def test_any_number_of_tokens_before_the_patches(prefix):
    parts = tokens((5, 7), prefix=prefix)
    found = window_attention(*parts, (5, 7), 3, prefix)
    expected = masked_attention(*parts, (5, 7), 3, prefix)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('window_size', [5, 6, 100])
def test_a_window_of_the_whole_grid_is_full_attention(window_size):
    parts = tokens((5, 3), torch.float32)
    assert torch.equal(
        window_attention(*parts, (5, 3), window_size),
        F.scaled_dot_product_attention(*parts),
    )


def test_hand_derived_values():
    """Equal keys, so each output is the mean of the values it may see.

    Values are 10 for CLS and 0, 1, 2 for a row of three patches; windows of
    two hold patches 0 and 1, and patch 2 alone.
    """
    same = torch.zeros(1, 1, 4, 1)
    value = torch.tensor([10.0, 0, 1, 2]).reshape(1, 1, 4, 1)
    found = window_attention(same, same, value, (1, 3), 2).flatten()
    expected = torch.tensor([13 / 4, 11 / 3, 11 / 3, 12 / 2])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ('num_layers', 'expected'),
    [
        (12, (2, 5, 8, 11)),  # arXiv 2203.16527, appendix A.2, ViT-B
        (24, (5, 11, 17, 23)),  # ViT-L
        (32, (7, 15, 23, 31)),  # ViT-H
        (6, (0, 2, 3, 5)),
        (3, (0, 1, 2)),
        (1, (0,)),
    ],
)
def test_global_blocks_are_spread_evenly(num_layers, expected):
    assert spread_evenly(num_layers) == expected
