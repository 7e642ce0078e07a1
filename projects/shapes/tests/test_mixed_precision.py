"""Figures in mixed precision agree with those in float32, on shapes."""

import json

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from harmoclip_mm.apis import load_config
from harmoclip_mm.registry import DATASETS, MODELS
from shapes.children import REPOSITORY, Children
from shapes.plan import config_of

CONFIG = str(config_of('harmoclip'))
POINTS = 0.2


@torch.no_grad()
def fit(model, dataset):
    """Fit the projection of the vision tower to the classes of boxes, by
    ridge regression: seconds in place of a training."""
    weight = model.backbone.visual.proj.t()  # a view: (D, C)
    weight.copy_(torch.eye(len(weight)))
    batch = [dataset[i] for i in range(len(dataset))]
    data = {key: [each[key] for each in batch] for key in batch[0]}
    data = model.data_preprocessor(data)
    truth = [each.gt_instances for each in data['data_samples']]
    regions = model.encode_regions(data['inputs'], [t.bboxes for t in truth])
    x = torch.cat(regions).double()
    texts = model.predictors['boxes'].classifier.class_embeddings(
        dataset.metainfo['classes'], model.text_encoder
    )
    y = F.normalize(texts - texts.mean(0), dim=1)
    y = y[torch.cat([t.labels for t in truth])].double()
    ridge = 1e-3 * torch.eye(x.shape[1], dtype=x.dtype)
    weight.copy_(torch.linalg.solve(x.T @ x + ridge, x.T @ y).T)


@pytest.mark.slow
@pytest.mark.usefixtures('harmoclip_scope', 'quick_children')
def test_within_two_tenths_of_a_point(tmp_path, monkeypatch):
    root = tmp_path / 'shapes'
    children = Children(root, Console())
    children.draw({'train': 300, 'val': 1, 'test': 1000})
    monkeypatch.setenv('SHAPES_ROOT', f'{root}/')
    cfg = load_config(CONFIG)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    source = cfg.test_dataloader.dataset
    source.update(
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[p for p in source.pipeline if p.type != 'LoadCaptions'],
    )
    fit(model.eval(), DATASETS.build(source))
    path = tmp_path / 'fitted.pth'
    torch.save({'state_dict': model.state_dict()}, path)

    figures = {}
    for name, options in (('float32', ()), ('mixed', ('--amp',))):
        out = tmp_path / f'{name}.json'
        children.run(
            *(REPOSITORY / 'tools/test.py', CONFIG, path, *options),
            *('--metrics-out', out, '--work-dir', tmp_path / name),
            log=tmp_path / f'{name}.log',
            label=name,
        )
        figures[name] = json.loads(out.read_text())
    exact, mixed = figures['float32'], figures['mixed']
    assert exact != mixed  # or nothing was rounded
    assert exact['box_cls/top1'] > 5 and exact['box_cls/top5'] > 30
    for kind in ('top1', 'top5', 'macro_top1', 'macro_top5'):
        key = f'box_cls/{kind}'
        assert mixed[key] == pytest.approx(exact[key], abs=POINTS), key
