"""Fixtures of the tests of configs."""

import json
import pickle
import uuid
from pathlib import Path

import pytest
import torch

from harmoclip_mm.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture
def evaluate_boxes(
    panoptic_photos, run_tool, tmp_path, monkeypatch, tiny_clip
):
    """Run a box evaluation of a tiny CLIP by tools/test.py on a few photos;
    gives metrics and predictions."""
    monkeypatch.setenv('COCO_ROOT', str(panoptic_photos))
    monkeypatch.setenv('LVIS_ROOT', str(panoptic_photos))

    def run(name, *options, images=3, checkpoint='none', layers=4):
        # The stack keeps loggers by experiment and second: a second run
        # within one second would write into the first one's file.
        kind = 'proposals' if 'proposals' in name else 'boxes'
        experiment = f'{tmp_path.name}_{uuid.uuid4().hex}'
        run_tool(
            'test.py', CONFIGS / 'evaluation' / name, checkpoint,
            '--work-dir', tmp_path / 'work',
            '--metrics-out', tmp_path / 'metrics.json',
            '--out', tmp_path / 'out.pkl',
            '--cfg-options',
            f'clip={tiny_clip(layers=layers)}',
            f'experiment_name={experiment}',
            'test_dataloader.num_workers=0',
            'test_dataloader.batch_size=2',
            f'test_dataloader.dataset.indices={images}',
            f'model.predictors.{kind}.classifier.templates=none',
            *options,
        )  # fmt: skip
        with open(tmp_path / 'out.pkl', 'rb') as file:
            samples = pickle.load(file)
        return json.loads((tmp_path / 'metrics.json').read_text()), samples

    return run


@pytest.fixture(scope='module')
def model(tiny_clip):
    """A tiny CLIP of random weights."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(type='harmoclip_mm.HarmoCLIP', clip=tiny_clip(layers=2))
    )
    model.init_weights()
    return model.eval()
