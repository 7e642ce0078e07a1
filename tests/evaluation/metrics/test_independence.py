"""Metrics do not depend on batch size, workers or number of processes."""

import json
import os

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData
from torch.utils.data import DataLoader, Dataset

from harmoclip_mm.engine import close_launcher
from harmoclip_mm.evaluation import (
    BoxClassificationMetric,
    ImageTextRetrievalMetric,
)

NUM_IMAGES, NUM_CLASSES, DIM = 13, 9, 6


class Predictions(Dataset):
    """Predictions and ground truth that depend on the index alone.

    Every fourth image has no box, every fifth no caption.
    """

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        boxes = index % 4 * 3
        scores = torch.from_numpy(rng.random((boxes, NUM_CLASSES)))
        sample = BaseDataElement(metainfo={'img_id': index})
        sample.gt_instances = InstanceData(
            labels=torch.from_numpy(rng.integers(0, NUM_CLASSES, boxes))
        )
        # few distinct scores: ties are common
        values, labels = (scores * 8).round().topk(6)
        sample.pred_instances = InstanceData(
            topk_labels=labels, topk_scores=values
        )
        sample.image_embedding = _unit(rng, DIM)
        if index % 5:
            texts = _unit(rng, index % 3 + 1, DIM) + sample.image_embedding
            sample.text_embeddings = texts / texts.norm(dim=1, keepdim=True)
        return sample


def _unit(rng, *shape):
    x = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return x / x.norm(dim=-1, keepdim=True)


def _metrics(batch_size, workers=0, collect_device='cpu'):
    loader = DataLoader(
        Predictions(),
        batch_size,
        sampler=DefaultSampler(Predictions(), shuffle=False),
        num_workers=workers,
        collate_fn=pseudo_collate,
    )
    classes = [f'class {i}' for i in range(NUM_CLASSES)]
    kwargs = {'collect_device': collect_device}
    evaluator = Evaluator(
        [
            BoxClassificationMetric(**kwargs),
            ImageTextRetrievalMetric(**kwargs),
        ]
    )
    evaluator.dataset_meta = {
        'classes': classes,
        'base_classes': classes[:6],
        'novel_classes': classes[6:],
    }
    for batch in loader:
        evaluator.process(batch)
    return evaluator.evaluate(NUM_IMAGES)


def _rank(rank, file, folder):
    os.chdir(folder)  # mmengine exchanges results through ./.dist_test
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', file, rank=rank, world_size=2)
    results = [
        _metrics(batch_size, collect_device=device)
        for batch_size in (1, 2, 7)
        for device in ('cpu', 'gpu')
    ]
    with open(f'{rank}.json', 'w') as f:
        json.dump(results, f)
    close_launcher()


@pytest.fixture(scope='module')
def reference():
    metrics = _metrics(1)
    # a figure at its bounds would hide what is counted twice or not at all
    assert 0 < metrics['box_cls/novel_top5'] < 100
    assert 0 < metrics['retrieval/i2t_r1'] < 100
    assert len(metrics) == 4 * 3 + 6
    return metrics


@pytest.mark.parametrize(('batch_size', 'workers'), [(2, 0), (7, 0), (2, 2)])
def test_batch_size_and_workers(reference, batch_size, workers):
    assert _metrics(batch_size, workers) == reference


@pytest.mark.slow
def test_two_processes(reference, tmp_path, run_ranks):
    # 13 images on 2 ranks: the sampler pads, every last batch is uneven
    run_ranks(_rank, 2, str(tmp_path))
    for rank in range(2):
        results = json.loads((tmp_path / f'{rank}.json').read_text())
        assert len(results) == 6
        for metrics in results:
            assert metrics == reference
