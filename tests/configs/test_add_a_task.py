"""The example of docs/add_a_task.md, run as it is told."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from harmoclip_mm.models import VisualFeatures
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.registry import METRICS, MODELS

ROOT = Path(__file__).resolve().parents[2]
DOC, CONFIGS = ROOT / 'docs' / 'add_a_task.md', ROOT / 'configs'


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The folder with the files of the page; its names are forgotten."""
    files = re.findall(
        r'^```python\n# projects/best_box/(\S+)\n(.*?)^```',
        DOC.read_text(),
        re.M | re.S,
    )
    for name, content in files:
        content = content.replace('../../configs', str(CONFIGS))
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    for registry in (MODELS, METRICS):
        registry.import_from_location()
    before = [(each, dict(each.module_dict)) for each in (MODELS, METRICS)]
    yield tmp_path
    sys.modules.pop('best_box', None)
    for registry, modules in before:
        registry._module_dict.clear()
        registry._module_dict.update(modules)


def test_by_hand(example):
    module = __import__('best_box')
    predictor = module.BestBoxPredictor()
    # two boxes, three classes; class 0 is best in box 1, though a 1
    logits = torch.tensor([[0.0, 1, 5], [1, 3, 2]])
    predictor.class_logits = lambda *args: [logits]
    sample = DetDataSample()
    sample.gt_instances = InstanceData(labels=torch.tensor([0, 1]))
    predictor.predict(VisualFeatures(), [sample], None, LogitScale())
    assert sample.best_boxes.tolist() == [1, 1, 0]
    metric = module.BestBoxMetric()
    metric.process(None, [sample.to_dict()])
    assert metric.evaluate(1) == {'best_box/top1': 50}


def test_by_the_tool(
    example, run_tool, panoptic_photos, monkeypatch, tiny_clip
):
    monkeypatch.setenv('COCO_ROOT', str(panoptic_photos))
    run_tool(
        'test.py', example / 'best_box_coco.py', 'none',
        '--work-dir', example / 'work',
        '--metrics-out', example / 'metrics.json',
        '--cfg-options', f'clip={tiny_clip()}',
        'model.predictors.best.classifier.templates=none',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
        'test_dataloader.dataset.indices=3',
    )  # fmt: skip
    metrics = json.loads((example / 'metrics.json').read_text())
    assert 0 <= metrics['best_box/top1'] <= 100
