"""Detectors in mixed precision: losses, gradients and detections."""

import copy
import json

import pytest
import torch
from mmengine.utils import digit_version

BOUNDS = {'bfloat16': 0.15}
if digit_version(torch.__version__) >= digit_version('2.4'):
    BOUNDS['float16'] = 0.03  # before, no autocast on a CPU takes it


@pytest.mark.parametrize('loss', ['cross entropy', 'federated'])
@pytest.mark.parametrize('dtype', BOUNDS)
def test_losses(build, with_masks, batch, dtype, loss, tmp_path):
    if loss == 'federated':
        names = batch[1][0].text
        (tmp_path / 'lvis.json').write_text(
            json.dumps(
                [
                    dict(id=number, name=name, image_count=number + 3)
                    for number, name in enumerate(names)
                ]
            )
        )
        with_masks.roi_head.bbox_head.loss_cls = dict(
            type='harmoclip_mm.FederatedCrossEntropyLoss',
            frequencies=str(tmp_path / 'lvis.json'),
            num_sampled=1,
        )
    model = build(with_masks).train()
    found = []
    for enabled in (False, True):
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast('cpu', getattr(torch, dtype), enabled=enabled):
            losses = model.loss(*copy.deepcopy(batch))
        losses, _ = model.parse_losses(losses)
        losses.backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        grad = torch.cat([each.flatten() for each in grads])
        found.append((losses.detach().float(), grad))
    (loss, grad), (half, half_grad) = found
    assert half.item() == pytest.approx(loss.item(), rel=BOUNDS[dtype])
    assert half_grad.isfinite().all()
    assert 0 < (half_grad - grad).norm() < 3 * BOUNDS[dtype] * grad.norm()


@torch.no_grad()
@pytest.mark.parametrize('dtype', BOUNDS)
def test_detections(build, with_masks, test_batch, dtype):
    model = build(with_masks)
    with torch.autocast('cpu', getattr(torch, dtype)):
        samples = model.predict(*test_batch)
    for sample in samples:
        found = sample.pred_instances
        assert len(found) and found.masks.any()
        assert found.scores.dtype == torch.float32
        assert found.bboxes.isfinite().all()
