import mmengine
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from harmoclip_mm.evaluation import BoxClassificationMetric, DumpRegionResults


def test_records_hold_ground_truth_and_predictions(tmp_path):
    out = str(tmp_path / 'results.pkl')
    sample = DetDataSample(
        metainfo={'img_id': 3, 'phrases': ['a', 'b'], 'text': ('x', 'y')}
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.ones(2, 4), labels=torch.tensor([0, 1])
    )
    mask = torch.zeros(2, 6, 5, dtype=torch.bool)
    mask[0, 1:4, 2:5] = True
    sample.pred_instances = InstanceData(
        bboxes=torch.full((2, 4), 2.0),
        topk_labels=torch.tensor([[0], [0]]),
        masks=mask,
    )
    sample.phrase_ids = torch.zeros(2, 77, dtype=torch.long)
    evaluator = Evaluator(
        [
            DumpRegionResults(out),
            BoxClassificationMetric(topk=(1,)),
        ]
    )
    evaluator.dataset_meta = {'classes': ('x', 'y')}
    evaluator.process([sample])
    metrics = evaluator.evaluate(1)

    (record,) = mmengine.load(out)
    assert record['img_id'] == 3
    assert record['phrases'] == ['a', 'b']
    assert 'phrase_ids' not in record and 'text' not in record
    gt, pred = record['gt_instances'], record['pred_instances']
    assert gt['labels'].tolist() == [0, 1]
    # of the original image, as the predictions that answer them
    assert torch.equal(gt['bboxes'], pred['bboxes'])
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


def test_records_say_which_run_they_are_of(tmp_path):
    out = str(tmp_path / 'results.pkl')
    evaluator = Evaluator([DumpRegionResults(out, {'config': 'a.py'})])
    evaluator.dataset_meta = {
        'classes': ['cat', 'dog'],
        'novel_classes': ['dog'],
    }
    evaluator.process([DetDataSample(metainfo={'img_id': i}) for i in (3, 5)])
    evaluator.evaluate(2)
    records = mmengine.load(out)
    assert records[0]['run'] is records[1]['run']  # written once
    assert records[0]['run'] == {
        'config': 'a.py',
        'classes': ('cat', 'dog'),
        'groups': {'novel': (1,)},
    }


def test_an_image_may_have_several_samples(tmp_path):
    """As where each caption of an image is a sample with its own phrases,
    whose boxes are searched."""
    out = str(tmp_path / 'results.pkl')
    samples = []
    for text in ('a dog', 'a cat'):
        sample = DetDataSample(metainfo={'img_id': 3, 'text': text})
        sample.gt_instances = InstanceData(
            bboxes=torch.ones(1, 4), labels=torch.tensor([0])
        )
        sample.pred_instances = InstanceData(
            bboxes=torch.full((1, 4), 2.0), embeddings=torch.ones(1, 5)
        )
        samples.append(sample)
    evaluator = Evaluator([DumpRegionResults(out)])
    evaluator.process(samples)
    evaluator.evaluate(2)
    records = mmengine.load(out)
    assert [each['text'] for each in records] == ['a dog', 'a cat']
    for each in records:  # boxes of the original image
        assert each['gt_instances']['bboxes'].tolist() == [[2.0] * 4]


def test_groups_may_be_those_of_a_metric(tmp_path):
    out = str(tmp_path / 'results.pkl')
    groups = {'pet': ['dog']}
    evaluator = Evaluator([DumpRegionResults(out, groups=groups)])
    evaluator.dataset_meta = {'classes': ['cat', 'dog']}
    evaluator.process([DetDataSample(metainfo={'img_id': 3})])
    evaluator.evaluate(1)
    assert mmengine.load(out)[0]['run']['groups'] == {'pet': (1,)}
