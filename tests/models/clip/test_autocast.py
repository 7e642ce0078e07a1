"""Training and tests under autocast, as AmpOptimWrapper does it on a GPU."""

import copy
from contextlib import contextmanager

import pytest
import tiny_clips
import torch
from every_kind import METHODS, TASKS
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import InstanceData
from mmengine.utils import digit_version

from harmoclip_mm.registry import MODELS

SCORES = {
    *('topk_scores', 'scores', 'candidate_logits', 'pred_score'),
    *('image_embedding', 'text_embeddings'),
}


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


DTYPES = {'bfloat16': torch.bfloat16}
if digit_version(torch.__version__) >= digit_version('2.4'):
    DTYPES['float16'] = torch.float16  # before, no autocast on a CPU takes it
# of the error of a number of 8 and of 11 bits, through a tiny tower
BOUNDS = {torch.bfloat16: 0.1, torch.float16: 0.02}


def in_both(cfg, samples, mode, dtype, size=32):
    """The same twice: in float32, and under autocast."""
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    img, found = torch.rand(len(samples), 3, size, size), []
    for enabled in (False, True):
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast('cpu', dtype, enabled=enabled):
            out = model.train(mode == 'loss')(
                img, copy.deepcopy(samples), mode=mode
            )
        grads = None
        if mode == 'loss':
            sum(out.values()).backward()
            grads = [p.grad for p in model.parameters() if p.requires_grad]
            grads = torch.cat([g.flatten() for g in grads if g is not None])
        found.append((out, grads))
    return found


def off(found, expected):
    """Norm of the difference, relative."""
    assert found.isfinite().all()
    found, expected = found.detach().float(), expected.detach().float()
    return (found - expected).norm() / expected.norm()


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('method', METHODS)
def test_every_loss(tiny_cfg, samples, method, dtype):
    dtype = DTYPES[dtype]
    cfg = {**tiny_cfg, **METHODS[method]}
    (full, grads), (half, found) = in_both(cfg, samples, 'loss', dtype)
    for name, value in full.items():
        assert half[name].dtype == torch.float32, name
        # a teacher begins where the student is: that loss is 0
        assert half[name].item() == pytest.approx(
            value.item(), rel=BOUNDS[dtype], abs=1e-3
        )
    assert 0 < off(found, grads) < 3 * BOUNDS[dtype]


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('clip', tiny_clips.ALL)
def test_every_family(tiny_cfg, samples, clip, dtype):
    """Towers and RoIAlign, with the heads that the CLIP can be given."""
    if clip == 'fastvit' and 'float16' not in DTYPES:
        pytest.skip('bfloat16 convolutions of torch 2.1 give NaN on a CPU')
    dtype, clip = DTYPES[dtype], tiny_clips.ALL[clip]
    samples = copy.deepcopy(samples)
    for sample in samples:  # ids of CLIP's own length
        length = clip['text_cfg']['context_length']
        for key in ('caption_ids', 'phrase_ids', 'phrase_masks'):
            setattr(sample, key, sample.get(key)[:, :length])
    cfg = dict(tiny_cfg, clip=clip, predictors=None)
    size = clip['vision_cfg']['image_size']
    (full, grads), (half, found) = in_both(cfg, samples, 'loss', dtype, size)
    for name, value in full.items():
        assert half[name].item() == pytest.approx(
            value.item(), rel=BOUNDS[dtype]
        )
    assert 0 < off(found, grads) < 3 * BOUNDS[dtype]


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('task', TASKS)
def test_every_predictor(tiny_cfg, samples, task, dtype):
    dtype = DTYPES[dtype]
    if TASKS[task]:
        tiny_cfg['predictors'] = TASKS[task]
    for sample in samples:
        sample.candidate_ids = sample.caption_ids.new_ones(1, 77)
        boxes = [[0.0, 0, 9, 9], [3, 3, 30, 20], [8, 1, 25, 31]]
        sample.proposals = InstanceData(
            bboxes=torch.tensor(boxes), scores=torch.tensor([0.9, 0.5, 0.1])
        )
    (full, _), (half, _) = in_both(tiny_cfg, samples, 'predict', dtype)
    compared = 0
    for expected, found in zip(full, half):
        expected = expected.get('pred_instances', expected)
        found = found.get('pred_instances', found)
        for key in SCORES & set(expected.keys()):
            # metrics rank what is in float32
            assert found.get(key).dtype == torch.float32, key
            if len(expected.get(key)):
                assert off(found.get(key), expected.get(key)) < BOUNDS[dtype]
                compared += 1
    assert compared
