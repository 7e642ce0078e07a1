"""Losses and gradients of the whole batch in the memory of a part."""

import copy
import ctypes
import json

import pytest
import torch
from mmengine.optim import OptimWrapper
from processes import peak_memory
from tiny_clips import EVA02

from harmoclip_mm.models.clip import micro_batches
from harmoclip_mm.models.layers import run_block
from harmoclip_mm.registry import MODELS


@pytest.fixture
def batch(make_sample, samples):
    """Five images; the fourth has neither region nor caption."""
    samples = [
        *samples,
        make_sample('', []),
        make_sample('dog', [([1.0, 2, 30, 9], 'dog', False)]),
    ]
    return torch.randn(5, 3, 32, 32).double(), samples


def loss_and_grads(model, batch):
    model.zero_grad()
    losses = model(*batch, mode='loss')
    sum(losses.values()).backward()
    grads = {
        name: param.grad.clone()
        for name, param in model.named_parameters()
        if param.grad is not None  # a method need not use both towers
    }
    return {n: loss.detach() for n, loss in losses.items()}, grads


def build(cfg, **kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(copy.deepcopy(cfg), **kwargs))
    model.init_weights()
    return model.double().train()


@pytest.mark.parametrize('encoder', ['online', 'teacher'])
def test_crops_of_all_encoders(tiny_cfg, batch, encoder):
    tiny_cfg['heads']['gr'].update(mode='both', crop_encoder=encoder)
    tiny_cfg['heads']['kd'] = dict(type='ConceptDistillationHead')
    tiny_cfg['crop_extractor'] = dict(type='CropFeatureExtractor')
    whole = loss_and_grads(build(tiny_cfg), batch)
    found = loss_and_grads(build(tiny_cfg, micro_batch_size=2), batch)
    torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('size', [1, 2, 5, 100])
def test_equals_the_whole_batch(tiny_cfg, batch, size, with_cp):
    tiny_cfg['heads']['gr']['mode'] = 'both'
    tiny_cfg['crop_extractor'] = dict(type='CropFeatureExtractor')
    whole = loss_and_grads(build(tiny_cfg), batch)
    tiny_cfg['backbone'] = dict(with_cp=with_cp)
    tiny_cfg['text_encoder'] = dict(with_cp=with_cp)
    model = build(tiny_cfg, micro_batch_size=size)
    found = loss_and_grads(model, batch)
    torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-13)


def test_random_numbers_are_those_of_the_forward(tiny_cfg, batch, monkeypatch):
    """Stochastic depth drops in the backward what it dropped before."""
    tiny_cfg['clip'] = copy.deepcopy(EVA02)
    tiny_cfg['clip']['vision_cfg']['timm_drop_path'] = 0.5
    model = build(tiny_cfg, micro_batch_size=2)
    torch.manual_seed(1)
    recomputed = loss_and_grads(model, batch)
    monkeypatch.setattr(
        micro_batches,
        'run_block',
        lambda *args, with_cp: run_block(*args, with_cp=False),
    )
    torch.manual_seed(1)
    kept = loss_and_grads(model, batch)
    torch.testing.assert_close(recomputed, kept, rtol=1e-12, atol=1e-14)
    torch.manual_seed(2)
    other, _ = loss_and_grads(model, batch)
    assert other != kept[0]


def test_mixed_precision(tiny_cfg, batch):
    inputs, samples = batch
    results = []
    for size in (None, 2):
        model = build(tiny_cfg, micro_batch_size=size).float()
        with torch.autocast('cpu', torch.bfloat16):
            losses = model(inputs.float(), samples, mode='loss')
        sum(losses.values()).backward()
        grads = [p.grad.flatten() for p in model.parameters()]
        results.append((sum(losses.values()).detach(), torch.cat(grads)))
    (loss, grad), (found_loss, found_grad) = results
    torch.testing.assert_close(found_loss, loss, rtol=1e-2, atol=0)
    # bfloat16 has 8 bits, and sums over a micro-batch round elsewhere
    assert (found_grad - grad).norm() < 0.05 * grad.norm()


def accumulated_grads(model, parts):
    """Gradient of one step of mmengine's wrapper over several batches."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    wrapper = OptimWrapper(optimizer, accumulative_counts=len(parts))
    wrapper.initialize_count_status(model, 0, len(parts))
    for inputs, samples in parts:
        model.train_step(
            dict(inputs=inputs, data_samples=samples), optim_wrapper=wrapper
        )
    return {n: before[n] - p.detach() for n, p in model.named_parameters()}


def test_what_accumulation_gives(tiny_cfg, make_sample):
    """docs/training.md: means over regions, but no contrastive loss."""
    boxes = [[0.0, 0, 16, 16], [8.0, 8, 32, 30], [3.0, 1, 9, 31]]
    words = ['dog', 'cat', 'car', 'bird']
    samples = [
        make_sample(word, [(box, word, True) for box in boxes[:2]])
        for word in words
    ]
    img = torch.randn(4, 3, 32, 32).double()
    parts = [(img[:2], samples[:2]), (img[2:], samples[2:])]
    # mmdet's would turn float64 to float32
    tiny_cfg['data_preprocessor'] = dict(type='mmengine.BaseDataPreprocessor')
    tiny_cfg['crop_extractor'] = dict(type='CropFeatureExtractor')
    crop = dict(gr=dict(type='RegionAlignmentHead', mode='crop'))
    for heads, size, equal in (
        (crop, None, True),
        (tiny_cfg['heads'], None, False),
        (tiny_cfg['heads'], 2, True),
    ):
        cfg = dict(tiny_cfg, heads=heads)
        _, expected = loss_and_grads(build(cfg), (img, samples))
        model = build(cfg, micro_batch_size=size)
        steps = [(img, samples)] if size else parts
        found = accumulated_grads(model, steps)
        close = all(
            torch.allclose(found[n], expected[n], rtol=1e-9, atol=1e-12)
            for n in expected
        )
        assert close is equal


def measure(rank, file, cfg, sample, folder):
    """Peak memory in bytes of a training step; rank 1 uses micro-batches."""
    torch.set_num_threads(1)
    # glibc keeps freed blocks below a threshold that grows: hold it still
    # (M_MMAP_THRESHOLD is -3), so that what is freed leaves the process.
    ctypes.CDLL(None).mallopt(-3, 1 << 16)
    model = MODELS.build(dict(cfg, micro_batch_size=[None, 4][rank]))
    model.init_weights()
    img = torch.randn(32, 3, 128, 128)
    for count in (1, len(img)):  # the first touches code, makes gradients
        before = peak_memory()
        losses = model.train()(
            img[:count], [sample.clone() for _ in range(count)], mode='loss'
        )
        sum(losses.values()).backward()
    peak = peak_memory() - before
    with open(f'{folder}/{rank}.json', 'w') as file:
        json.dump(peak, file)


@pytest.mark.slow
def test_peak_memory(run_ranks, tiny_cfg, make_sample, tmp_path):
    """Micro-batches of an eighth: less than half of the peak."""
    tiny_cfg['clip']['vision_cfg']['layers'] = 12
    sample = make_sample('a dog', [([0.0, 0, 90, 90], 'dog', True)])
    run_ranks(measure, 2, tiny_cfg, sample, str(tmp_path))
    whole, parts = (
        json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)
    )
    assert whole > 5e7
    assert parts < whole / 2


def test_wrong_size(tiny_cfg):
    with pytest.raises(ValueError, match=r'micro_batch_size .* not 0'):
        MODELS.build(dict(tiny_cfg, micro_batch_size=0))
