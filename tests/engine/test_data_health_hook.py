"""The hook in real trainings of a one-parameter model."""

import logging
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.distributed import init_process_group

from harmoclip_mm.engine import DataHealthHook, close_launcher
from harmoclip_mm.registry import DATASETS


class Mean(BaseModel):
    """As small as a model can be."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples, mode='loss'):
        pixels = torch.stack(list(inputs)).float().mean()
        return {'loss': self.weight.sum() * pixels}


def train(tiny_data, lines, name, loop, num_workers=2):
    runner = Runner(
        model=Mean(),
        work_dir=str(tiny_data.root / 'work'),
        train_dataloader={
            'batch_size': 2,
            'num_workers': num_workers,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': {'type': 'pseudo_collate'},
            'dataset': {
                'type': 'RegionPhraseDataset',
                'ann_file': tiny_data.jsonl(*lines),
                'data_root': str(tiny_data.root),
                'data_prefix': {'img': 'images'},
                'pipeline': [
                    {'type': 'LoadCheckedImage'},
                    {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
                    {'type': 'SampleRegions', 'min_size': 4},
                    {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
                    {'type': 'PackRegionTextInputs'},
                ],
            },
        },
        train_cfg=loop,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        custom_hooks=[{'type': 'DataHealthHook'}],
        default_hooks={'checkpoint': None, 'logger': None},
        default_scope='harmoclip_mm',
        experiment_name=name,
    )
    runner.train()


@pytest.fixture
def health(caplog):
    """The lines that the hook logs."""
    caplog.set_level(logging.INFO)

    def lines():
        return [
            record.getMessage()
            for record in caplog.records
            if record.getMessage().startswith('Data health')
        ]

    original = MMLogger.callHandlers

    def call_handlers(self, record):
        caplog.handler.emit(record)
        original(self, record)

    MMLogger.callHandlers = call_handlers
    yield lines
    MMLogger.callHandlers = original


@pytest.fixture
def lines(tiny_data):
    regions = [
        {'bbox': [0, 0, 20, 20], 'phrase': 'dog'},
        {'bbox': [0, 0, 3, 3], 'phrase': 'fly'},
    ]
    names = [f'{i}.png' for i in range(4)]
    for name in names:
        tiny_data.image(name)
    return [tiny_data.grounding(n, 'a dog', *regions) for n in names]


def test_one_line_an_epoch_with_the_counts_of_that_epoch(
    tiny_data, lines, health
):
    loop = {'type': 'EpochBasedTrainLoop', 'max_epochs': 2}
    train(tiny_data, lines, 'epochs', loop)
    # Each of the four samples has one box of 3 px, in each epoch anew.
    assert health() == [
        f'Data health, epoch {i}: 4 boxes below 4 px dropped' for i in (1, 2)
    ]


def test_bad_images_of_workers_are_in_the_line(tiny_data, lines, health):
    (tiny_data.root / 'images' / '2.png').unlink()
    loop = {'type': 'EpochBasedTrainLoop', 'max_epochs': 1}
    train(tiny_data, lines, 'bad', loop)
    (line,) = health()
    assert 'bad images replaced, 4 boxes below 4 px dropped' in line


def test_iteration_based_training_says_it_at_the_end(tiny_data, health):
    tiny_data.image('a.png')
    lines = [tiny_data.grounding('a.png', 'a dog')]
    loop = {'type': 'IterBasedTrainLoop', 'max_iters': 3}
    train(tiny_data, lines, 'iterations', loop, num_workers=0)
    assert health() == [
        'Data health, 3 iterations: the pipeline changed nothing'
    ]


def test_it_runs_after_the_others():
    assert DataHealthHook.priority == 'LOW'


def report(rank, file, settings, out):
    init_process_group('gloo', file, rank=rank, world_size=2)
    dataset = DATASETS.build(settings)
    runner = Mock(iter=1, epoch=0, train_dataloader=Mock(dataset=dataset))
    DataHealthHook().after_train_epoch(runner)
    if rank == 0:
        (line,), _ = runner.logger.info.call_args
        Path(out).write_text(line)
    close_launcher()


def test_boxes_of_a_file_that_all_processes_read_count_once(
    tiny_data, run_ranks, tmp_path
):
    regions = [
        {'bbox': [0, 0, 20, 20], 'phrase': 'dog'},
        {'bbox': [5, 5, 5, 9], 'phrase': 'line'},
    ]
    settings = {
        'type': 'harmoclip_mm.RegionPhraseDataset',
        'ann_file': tiny_data.jsonl(
            tiny_data.grounding('a.png', 'a dog', *regions)
        ),
        'data_root': str(tiny_data.root),
    }
    run_ranks(report, 2, settings, str(tmp_path / 'line'))
    line = (tmp_path / 'line').read_text()
    assert line.endswith(': 1 boxes dropped by the data set')
