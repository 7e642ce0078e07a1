"""Training under bf16 autocast, which AmpOptimWrapper does on a GPU."""

from contextlib import contextmanager

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper


class CPUAutocastOptimWrapper(OptimWrapper):
    """What AmpOptimWrapper does in bf16; mmengine's refuses a CPU."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast(
            'cpu', dtype=torch.bfloat16
        ):
            yield


def step_thrice(model, samples, wrapper, device):
    model.to(device).train()
    torch.manual_seed(0)
    inputs = list(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8))
    data = dict(inputs=inputs, data_samples=samples)
    return [model.train_step(data, wrapper) for _ in range(3)]


@pytest.mark.parametrize(
    'device',
    [
        'cpu',
        pytest.param(
            'cuda',
            marks=pytest.mark.skipif(
                not torch.cuda.is_available(), reason='no GPU'
            ),
        ),
    ],
)
def test_three_steps_in_bf16(tiny_model, samples, device):
    start = {k: v.clone() for k, v in tiny_model.state_dict().items()}

    def optimizer():
        return torch.optim.AdamW(tiny_model.parameters(), lr=1e-3)

    full = step_thrice(tiny_model, samples, OptimWrapper(optimizer()), device)
    tiny_model.load_state_dict(start)
    if device == 'cpu':
        wrapper = CPUAutocastOptimWrapper(optimizer())
    else:
        wrapper = AmpOptimWrapper(dtype='bfloat16', optimizer=optimizer())
    half = step_thrice(tiny_model, samples, wrapper, device)
    for name, weight in tiny_model.named_parameters():
        assert weight.dtype == torch.float32, name
    for found, expected in zip(half, full):
        for name, value in expected.items():
            # the losses themselves are computed in float32; bf16 keeps 8
            # bits, and the temperature multiplies errors of a cosine by 14
            assert found[name].dtype == torch.float32
            assert found[name].item() == pytest.approx(value.item(), rel=0.1)
    assert any(half[0][n] != full[0][n] for n in full[0])  # it did autocast
