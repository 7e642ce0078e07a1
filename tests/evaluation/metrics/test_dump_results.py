import mmengine
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation import (
    BoxClassificationMetric,
    DumpRegionResults,
    check_run,
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


@pytest.fixture
def dumped(tmp_path):
    """Records of two images, their file, and what it says of the run."""
    out = str(tmp_path / 'results.pkl')
    run = {'config': 'a.py', 'ann_sha256': 'abc'}
    evaluator = Evaluator([DumpRegionResults(out, run)])
    evaluator.dataset_meta = {'classes': ('cat', 'dog')}
    evaluator.process([DetDataSample(metainfo={'img_id': i}) for i in (3, 5)])
    evaluator.evaluate(2)
    return mmengine.load(out), out, {'classes': ('cat', 'dog'), **run}


def test_records_say_which_run_they_are_of(dumped):
    records, path, run = dumped
    assert check_run(records, path) == run
    found = check_run(records, path, ['Cat', 'dog'], 'abc', [5, 3])
    assert found == run
    assert records[0]['run'] is records[1]['run']  # written once


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'classes': ['dog', 'cat']}, r'of another run \(config a.py\).*class '
         '0 is "dog" in the data set and "cat"'),
        ({'ann_sha256': 'abd'}, 'another run .*annotation file is not this'),
        ({'img_ids': [3, 5, 6]}, '1 images differ .* image 6, not in the fil'),
        ({'img_ids': [3]}, '1 images differ .* image 5, only in the file'),
    ],
)  # fmt: skip
def test_results_of_another_run_are_refused(dumped, kwargs, message):
    records, path, _ = dumped
    with pytest.raises(DataError, match=message) as error:
        check_run(records, path, **kwargs)
    assert path in str(error.value)


def test_a_file_put_together_is_refused(dumped):
    records, path, run = dumped
    other = {**records[1], 'run': {**run, 'config': 'b.py'}}
    with pytest.raises(DataError, match='results of several runs'):
        check_run([records[0], other], path)
    with pytest.raises(DataError, match='image 3 occurs twice'):
        check_run([*records, records[0]], path)
    for bad in ([], [{'img_id': 3}]):
        with pytest.raises(DataError, match='does not say which run'):
            check_run(bad, path)
