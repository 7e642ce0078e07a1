import mmengine
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from harmoclip_mm.evaluation import (
    BoxClassificationMetric,
    DumpRegionResults,
)


def test_records_hold_ground_truth_and_predictions(tmp_path):
    out = str(tmp_path / 'results.pkl')
    sample = DetDataSample(metainfo={'img_id': 3, 'phrases': ['a', 'b']})
    sample.gt_instances = InstanceData(
        bboxes=torch.ones(2, 4), labels=torch.tensor([0, 1])
    )
    mask = torch.zeros(2, 6, 5, dtype=torch.bool)
    mask[0, 1:4, 2:5] = True
    sample.pred_instances = InstanceData(
        bboxes=torch.ones(2, 4),
        topk_labels=torch.tensor([[0], [0]]),
        masks=mask,
    )
    sample.phrase_ids = torch.zeros(2, 77, dtype=torch.long)
    evaluator = Evaluator(
        [
            DumpRegionResults(out),
            BoxClassificationMetric(['x', 'y'], topk=(1,)),
        ]
    )
    evaluator.process([sample])
    metrics = evaluator.evaluate(1)

    (record,) = mmengine.load(out)
    assert record['img_id'] == 3
    assert record['phrases'] == ['a', 'b']
    assert 'phrase_ids' not in record
    gt, pred = record['gt_instances'], record['pred_instances']
    assert gt['labels'].tolist() == [0, 1]
    assert gt['bboxes'].shape == pred['bboxes'].shape == (2, 4)
    from pycocotools import mask as coco_mask

    decoded = coco_mask.decode(pred['masks'][0])
    np.testing.assert_array_equal(decoded, mask[0].numpy())
    # the figure follows from the file alone
    hits = pred['topk_labels'][:, 0] == gt['labels']
    assert metrics['box_cls/top1'] == 100 * hits.float().mean()
    # and the sample other metrics see is as it was
    assert isinstance(sample.pred_instances.masks, torch.Tensor)


def test_only_pickle_files():
    with pytest.raises(ValueError, match='pkl'):
        DumpRegionResults('results.json')
