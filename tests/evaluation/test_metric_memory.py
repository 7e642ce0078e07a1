"""Peak memory of whole processes at the sizes of LVIS and of COCO."""

from pathlib import Path

import pytest
from processes import peak_memory

LIMIT_MB = 2000

# 19 809 images of LVIS val have 244 707 boxes
LVIS = """
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from harmoclip_mm.evaluation import BoxClassificationMetric
from harmoclip_mm.models import BoxClassPredictor, VisualFeatures
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.text import load_vocabulary

metric = BoxClassificationMetric()
metric.dataset_meta = dict(classes=load_vocabulary('lvis1203').classes)
predictor = BoxClassPredictor()
total = 0
for batch in range(1000):
    logits = torch.randn(250, 1203)
    samples = []
    for part in range(20):
        total += 1
        sample = DetDataSample(metainfo=dict(img_id=total))
        sample.gt_instances = InstanceData(
            bboxes=torch.rand(12 + part % 2, 4),
            labels=torch.randint(1203, (12 + part % 2,)))
        samples.append(sample)
    parts = logits.split([len(s.gt_instances.bboxes) for s in samples])
    predictor.class_logits = lambda *args: parts
    predictor.predict(VisualFeatures(), samples, None, LogitScale())
    metric.process(None, [sample.to_dict() for sample in samples])
metrics = metric.evaluate(total)
assert sum(len(gt) for _, gt, *_ in metric.results) in (0, 250000)
chance = 100 / 1203
assert 0.5 * chance < metrics['box_cls/top1'] < 2 * chance
assert 2.5 * chance < metrics['box_cls/top5'] < 10 * chance
"""
COCO = """
import numpy as np
from harmoclip_mm.evaluation import ImageTextRetrievalMetric

rng = np.random.default_rng(0)
metric = ImageTextRetrievalMetric()
for img_id in range(5000):
    rows = rng.standard_normal((6, 512)).astype(np.float32)
    rows[1:] = rows[0] + 2 * rows[1:]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    metric.process(None, [dict(
        img_id=img_id, image_embedding=rows[0], text_embeddings=rows[1:])])
metrics = metric.evaluate(5000)
assert metrics['retrieval/t2i_r1'] > 50
"""


def measure(rank, file, code, out):
    exec(code, {})
    Path(out).write_text(str(peak_memory()))


@pytest.mark.slow
@pytest.mark.parametrize(
    'code', [LVIS, COCO], ids=['250k boxes, 1203 classes', '5k x 25k']
)
def test_stays_below_two_gigabytes(code, run_ranks, tmp_path):
    if not Path('/proc/self/status').exists():
        pytest.skip('the peak is read from /proc, which only Linux has')
    run_ranks(measure, 1, code, str(tmp_path / 'peak'))
    peak = int((tmp_path / 'peak').read_text()) / 2**20
    print(f'peak of the process: {peak:.0f} MB')
    assert peak < LIMIT_MB
