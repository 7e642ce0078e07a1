"""QuickGELU against its definition."""

import pytest
import torch
from mmengine.registry import MODELS

from harmoclip_mm.models.layers import QuickGELU


def test_value_by_hand():
    # 1 / (1 + exp(-1.702)) = 0.84579; 0 stays 0
    out = QuickGELU()(torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(
        out, torch.tensor([0.84579, 0.0]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize('reference', ['mmpretrain', 'open_clip'])
def test_equals_the_libraries(reference):
    if reference == 'mmpretrain':
        other = MODELS.build(dict(type='mmpretrain.QuickGELU'))
    else:
        other = pytest.importorskip('open_clip.transformer').QuickGELU()
    x = torch.linspace(-40, 40, 1001, dtype=torch.float64)
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    values = QuickGELU()(ours), other(theirs)
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-14)
    for value in values:
        value.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_backward_keeps_one_tensor():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        QuickGELU()(torch.randn(100, requires_grad=True))
    assert sum(kept) < 2 * 100
