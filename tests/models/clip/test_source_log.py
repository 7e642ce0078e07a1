"""Losses by source: whose pairs a head's rows are."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from harmoclip_mm.models.clip.source_log import log_sources


def _sample(source, num_regions):
    sample = DetDataSample(metainfo=dict(source=source))
    sample.caption_ids = torch.zeros(1, 4, dtype=torch.int64)
    sample.gt_instances = InstanceData(bboxes=torch.zeros(num_regions, 4))
    return sample


@pytest.mark.parametrize(
    ('requires', 'rows', 'expected'),
    [
        # a: the first image, or its one region; b: the two others, or theirs
        ({'image', 'text'}, [1.0, 5.0, 7.0], dict(a=1.0, b=6.0)),
        ({'regions', 'lexemes'}, [2.0, 4.0, 4.0, 6.0, 6.0], dict(a=2.0, b=5)),
        # no region in it, but a row for each
        ({'lexemes', 'phrases'}, [2.0, 4.0, 4.0, 6.0, 6.0], dict(a=2.0, b=5)),
    ],
)
def test_rows_belong_to_images_or_to_regions(requires, rows, expected):
    MessageHub.get_instance(f'source_log_{sorted(requires)}')
    samples = [_sample('a', 1), _sample('b', 3), _sample('b', 1)]
    heads = dict(head=SimpleNamespace(requires=frozenset(requires)))
    # two directions, whose mean is the pair's loss
    rows = torch.tensor(rows)
    log_sources(samples, heads, dict(head=[rows - 1, rows + 1]))
    hub = MessageHub.get_current_instance()
    for source, loss in expected.items():
        name = f'train/loss_head_{source}'
        assert hub.get_scalar(name).mean() == pytest.approx(loss)
