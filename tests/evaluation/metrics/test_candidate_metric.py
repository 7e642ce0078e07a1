import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData

from harmoclip_mm.errors import DataError
from harmoclip_mm.evaluation import FGOVDMetric

NO = float('-inf')
META = {'subsets': ('hard', 'easy', 'trivial')}


def sample(img_id, logits, labels, subsets):
    element = BaseDataElement(metainfo={'img_id': img_id})
    element.gt_instances = InstanceData(
        labels=torch.tensor(labels), subset_ids=torch.tensor(subsets)
    )
    element.pred_instances = InstanceData(candidate_logits=logits)
    return element


SAMPLES = [
    # hard: rank 1 of 2; easy: rank 2 of 3, by the tie
    sample(
        1,
        torch.tensor([[2.0, NO, 1.0], [3.0, 3.0, 1.0]]),
        [0, 1],
        [0, 1],
    ),
    sample(2, torch.zeros(0, 4), [], []),
    # hard: rank 3 of 3; hard: rank 1 of 2
    sample(
        3,
        torch.tensor([[2.0, 3.0, 1.0], [NO, 3.0, 1.0]]).half(),
        [2, 1],
        [0, 0],
    ),
]


def evaluate(samples, batch_size=1, meta=META):
    evaluator = Evaluator([FGOVDMetric()])
    evaluator.dataset_meta = meta
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize('batch_size', [1, 2, 7])
def test_figures(batch_size):
    assert evaluate(SAMPLES, batch_size) == {
        'fgovd/hard_top1': pytest.approx(200 / 3),  # ranks 1, 3, 1
        'fgovd/hard_mean_rank': pytest.approx(5 / 3),
        'fgovd/easy_top1': 0.0,
        'fgovd/easy_mean_rank': 2.0,
    }


def test_the_order_of_images_changes_nothing():
    assert evaluate(SAMPLES) == evaluate(SAMPLES[::-1])


def test_bad_input():
    with pytest.raises(DataError, match='none of the 1 images has a box'):
        evaluate(SAMPLES[1:2])
    with pytest.raises(DataError, match='the data set names no sets'):
        evaluate(SAMPLES, meta={})
    bad = sample(4, torch.full((1, 2), float('nan')), [0], [0])
    with pytest.raises(DataError, match='image 4: a score is NaN'):
        evaluate([bad])
    del bad.pred_instances
    with pytest.raises(DataError, match=r'image 4 has no pred_instances\.'):
        evaluate([bad])
