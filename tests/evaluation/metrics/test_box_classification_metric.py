import logging

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement, InstanceData

from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation import BoxClassificationMetric
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.models.predictors import BoxClassPredictor, VisualFeatures
from harmoclip_mm.registry import METRICS
from harmoclip_mm.text import load_vocabulary

CLASSES = ('cat', 'dog', 'sky', 'grass')


def _sample(img_id, gt_labels, topk_labels):
    topk_labels = torch.tensor(topk_labels, dtype=torch.long)
    sample = BaseDataElement(metainfo={'img_id': img_id})
    sample.gt_instances = InstanceData(
        labels=torch.tensor(gt_labels, dtype=torch.long)
    )
    sample.pred_instances = InstanceData(topk_labels=topk_labels)
    return sample


def _evaluate(metric, batches, **meta):
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = meta
    for batch in batches:
        evaluator.process(batch)
    return evaluator.evaluate(sum(map(len, batches)))


BATCHES = [
    [
        _sample(1, [0, 2], [[0, 1], [3, 2]]),
        _sample(2, [], torch.zeros(0, 2).tolist()),  # an image without boxes
    ],
    [_sample(3, [1, 1], [[1, 0], [2, 3]])],
]
# cat 1/1, dog 1/2, sky 0/1 (top2 1/1): micro 2/4 (3/4), macro 3/2/3 (5/2/3)
EXPECTED = {
    'box_cls/top1': 50.0,
    'box_cls/top2': 75.0,
    'box_cls/macro_top1': 50.0,
    'box_cls/macro_top2': 250 / 3,
}
GROUPS = {'thing': ['cat', 'dog'], 'stuff': ['sky', 'grass']}
GROUP_EXPECTED = {
    'box_cls/thing_top1': 200 / 3,
    'box_cls/thing_top2': 200 / 3,
    'box_cls/thing_macro_top1': 75.0,
    'box_cls/thing_macro_top2': 75.0,
    'box_cls/stuff_top1': 0.0,
    'box_cls/stuff_top2': 100.0,
    'box_cls/stuff_macro_top1': 0.0,
    'box_cls/stuff_macro_top2': 100.0,
}


def test_hand_derived_numbers_by_registry():
    metric = METRICS.build(
        {'type': 'harmoclip_mm.BoxClassificationMetric', 'topk': (1, 2)}
    )
    accuracy = _evaluate(metric, BATCHES, classes=CLASSES)
    assert accuracy == pytest.approx(EXPECTED)


@pytest.mark.parametrize(
    ('kwargs', 'meta'),
    [
        ({'groups': GROUPS}, {'classes': CLASSES}),
        (
            {},
            {
                'classes': CLASSES,
                'thing_classes': ['cat', 'dog'],
                'stuff_classes': ['sky', 'grass'],
            },
        ),
    ],
)
def test_groups_of_argument_or_data_set(kwargs, meta):
    metric = BoxClassificationMetric(topk=(1, 2), **kwargs)
    accuracy = _evaluate(metric, BATCHES, **meta)
    assert accuracy == pytest.approx({**EXPECTED, **GROUP_EXPECTED})


@pytest.mark.parametrize('kwargs', [{}, {'groups': 'coco80'}])
def test_groups_of_a_shipped_vocabulary(kwargs):
    metric = BoxClassificationMetric(topk=(1,), **kwargs)
    vocabulary = load_vocabulary('coco80')
    novel = vocabulary.classes.index(vocabulary.groups['novel'][0])
    base = vocabulary.classes.index(vocabulary.groups['base'][0])
    accuracy = _evaluate(
        metric,
        [[_sample(1, [novel, base, base], [[novel], [base], [novel]])]],
        classes=vocabulary.classes,
    )
    assert accuracy['box_cls/novel_top1'] == 100
    assert accuracy['box_cls/base_top1'] == 50
    assert accuracy['box_cls/top1'] == pytest.approx(200 / 3)


def test_a_group_without_boxes_has_no_key():
    metric = BoxClassificationMetric(
        groups={'seen': ['cat'], 'unseen': ['grass']}, topk=(1,)
    )
    accuracy = _evaluate(metric, BATCHES, classes=CLASSES)
    assert 'box_cls/seen_top1' in accuracy
    assert 'box_cls/unseen_top1' not in accuracy
    assert all(np.isfinite(value) for value in accuracy.values())


@pytest.mark.parametrize(
    ('sample', 'message'),
    [
        (_sample(7, [4], [[0, 1]]), r'image 7: a box has class 4.*0 to 3'),
        (_sample(7, [0], [[0, 4]]), 'image 7: a prediction has class 4'),
        (_sample(7, [0], [[0]]), 'top-2 accuracy needs 2 predicted classes'),
        (
            _sample(7, [0, 1], [[0, 1]]),
            'image 7: 1 predictions for 2 boxes',
        ),
    ],
)
def test_bad_samples(sample, message):
    metric = BoxClassificationMetric(topk=(1, 2))
    with pytest.raises(ValueError, match=message):
        _evaluate(metric, [[sample]], classes=CLASSES)


def test_ties_are_never_hits_by_luck():
    tied, clear = (
        _sample(1, [0, 2], [[0, 1], [2, 0]]),
        _sample(2, [3], [[3, 1]]),
    )
    # box 0 ties with class 1, box 1 does not
    tied.pred_instances.topk_scores = torch.tensor([[0.4, 0.4], [0.6, 0.2]])
    clear.pred_instances.topk_scores = torch.tensor(
        [[0.9, 0.1]], dtype=torch.bfloat16
    )
    metric = BoxClassificationMetric(topk=(1,))
    accuracy = _evaluate(metric, [[tied, clear]], classes=CLASSES)
    assert accuracy['box_cls/top1'] == pytest.approx(200 / 3)


def test_classes_of_a_saturated_sigmoid_do_not_tie():
    """Of a SigLIP that knows regions, several are 1 in float32."""
    sample = _sample(1, [1], [[0]])
    sample.gt_instances.bboxes = torch.zeros(1, 4)
    predictor = BoxClassPredictor()
    logits = torch.tensor([[30.0, 40.0, -3.0, 2.0]])
    predictor.class_logits = lambda *args: [logits]
    features = VisualFeatures(gt_regions=[torch.zeros(1, 8)])
    predictor.predict(features, [sample], None, LogitScale(100, -16.0))
    assert sample.pred_instances.topk_scores[0, :2].tolist() == [1, 1]
    metric = BoxClassificationMetric(topk=(1,))
    accuracy = _evaluate(metric, [[sample]], classes=CLASSES)
    assert accuracy['box_cls/top1'] == 100


def test_scores_must_be_numbers():
    sample = _sample(7, [0], [[0, 1]])
    sample.pred_instances.topk_scores = torch.tensor([[float('nan'), 0.1]])
    metric = BoxClassificationMetric(topk=(1,))
    with pytest.raises(DataError, match=r'image 7: .*NaN'):
        _evaluate(metric, [[sample]], classes=CLASSES)


def test_an_image_counts_once():
    metric = BoxClassificationMetric(topk=(1,))
    batch = [_sample(7, [0], [[0]]), _sample(7, [1], [[1]])]
    with pytest.raises(DataError, match='image 7 occurs twice among the 2'):
        _evaluate(metric, [batch], classes=CLASSES)


def test_a_data_set_without_any_box_names_the_remedy():
    metric = BoxClassificationMetric(topk=(1,))
    empty = _sample(1, [], torch.zeros(0, 4).tolist())
    with pytest.raises(ValueError, match=r'none of the 1 images.*LoadAnn'):
        _evaluate(metric, [[empty]], classes=CLASSES)


def test_the_data_set_names_the_classes():
    with pytest.raises(DataError, match=r'metainfo=dict\(classes='):
        _evaluate(BoxClassificationMetric(), BATCHES)


def test_the_table_is_logged():
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        metric = BoxClassificationMetric(groups=GROUPS, topk=(1, 2))
        _evaluate(metric, BATCHES, classes=CLASSES)
    finally:
        logger.removeHandler(handler)
    cells = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in '\n'.join(records).split('\n')
    ]
    header = ['boxes of', 'classes seen', 'boxes', 'top1', 'top2']
    assert [*header, 'macro_top1', 'macro_top2'] in cells
    assert ['all', '3/4', '4', '50.00', '75.00', '50.00', '83.33'] in cells
    assert ['stuff', '1/2', '1', '0.00', '100.00', '0.00', '100.00'] in cells
