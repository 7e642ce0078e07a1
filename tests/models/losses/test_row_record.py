"""Losses of single pairs, as they are told to whoever logs them."""

import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models.losses import ContrastiveLoss, SigmoidContrastiveLoss
from harmoclip_mm.models.losses.row_record import recorded_rows


@pytest.mark.parametrize('chunk_size', [3, 1024])
@pytest.mark.parametrize(
    'loss_type', [ContrastiveLoss, SigmoidContrastiveLoss]
)
def test_rows_are_the_loss_of_each_pair(loss_type, chunk_size):
    torch.manual_seed(0)
    left, right = F.normalize(torch.randn(2, 8, 5), dim=-1)
    scale, bias = torch.tensor(3.0), torch.tensor(-1.0)
    module = loss_type(loss_weight=0.5, chunk_size=chunk_size)
    with recorded_rows() as rows:
        loss = module(left, right, None, scale, bias)
    logits = scale * left @ right.t()
    if loss_type is ContrastiveLoss:
        target = torch.arange(8)
        expected = [
            F.cross_entropy(each, target, reduction='none')
            for each in (logits, logits.t())
        ]
    else:
        signs = 2 * torch.eye(8) - 1
        expected = [-F.logsigmoid(signs * (logits + bias)).sum(1)]
    assert len(rows) == len(expected)
    for found, wanted in zip(rows, expected):
        assert torch.allclose(found, wanted, atol=1e-6)
        assert not found.requires_grad
    assert torch.allclose(0.5 * torch.stack(rows).mean(), loss)
    with recorded_rows() as none, torch.no_grad():
        pass
    module(left, right, None, scale, bias)  # nobody collects
    assert none == [] and len(rows) == len(expected)
