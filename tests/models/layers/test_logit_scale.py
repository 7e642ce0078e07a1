"""Temperature and bias."""

import math

import pytest
import torch

from harmoclip_mm.models.layers import LogitScale, cosine_logits


def test_starts():
    scale, bias = LogitScale()()
    assert scale.item() == pytest.approx(1 / 0.07)
    assert bias is None
    scale, bias = LogitScale(10.0, -10)()
    assert scale.item() == pytest.approx(10)
    assert bias.item() == -10


def test_names_are_those_of_checkpoints():
    assert list(LogitScale().state_dict()) == ['log_scale']
    state_dict = LogitScale(init_bias=-10.0).state_dict()
    assert list(state_dict) == ['log_scale', 'bias']
    assert all(each.shape == () for each in state_dict.values())


def test_scale_is_bounded_and_comes_back():
    module = LogitScale().train()
    with torch.no_grad():
        module.log_scale.fill_(math.log(300.0))
    scale, _ = module()
    assert scale.item() == pytest.approx(100.0)
    scale.backward()
    assert module.log_scale.grad.item() == pytest.approx(100.0)


@pytest.mark.parametrize('train', [False, True])
def test_released_sigmoid_scales_stay(train):
    """A SigLIP's above 100 is not cut at the first step of a training."""
    module = LogitScale(init_bias=-10.0).train(train)
    with torch.no_grad():
        module.log_scale.fill_(math.log(112.0))
    assert module()[0].item() == pytest.approx(112.0)


def test_gradients():
    module = LogitScale(10.0, -10.0)
    scale, bias = module()
    (2 * scale + 3 * bias).backward()
    # d exp(s) / ds = exp(s)
    assert module.log_scale.grad.item() == pytest.approx(20.0)
    assert module.bias.grad.item() == 3.0


def test_probabilities_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    # softmax: 1 and 3 of 4; over one row of its own each: 1
    found = LogitScale().probabilities(logits)
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]))
    found = LogitScale().probabilities(logits, dim=0)
    torch.testing.assert_close(found, torch.ones(1, 2))
    # sigmoid: 1 / 2 and 3 / 4, whatever the dimension
    expected = torch.tensor([[0.5, 0.75]])
    for dim in (0, 1):
        found = LogitScale(init_bias=0.0).probabilities(logits, dim)
        torch.testing.assert_close(found, expected)


def test_cosine_logits():
    """Scaled, shifted, and the same under autocast."""
    rows = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    scale, bias = torch.tensor(10.0), torch.tensor(-3.0)
    logits = cosine_logits(rows, rows, scale)
    torch.testing.assert_close(logits, 10 * rows @ rows.t())
    torch.testing.assert_close(logits.diag(), torch.full((3,), 10.0))
    with torch.autocast('cpu', torch.bfloat16):
        biased = cosine_logits(rows, rows, scale, bias)
    assert torch.equal(biased, logits - 3)
