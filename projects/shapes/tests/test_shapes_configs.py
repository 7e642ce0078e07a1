"""Every config of the project builds, trains a step and is tested."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from harmoclip_mm.apis import load_config
from harmoclip_mm.engine.exact_resume import find_inexact
from harmoclip_mm.registry import DATASETS, LOOPS
from harmoclip_mm.text import load_vocabulary
from shapes.children import PROJECT
from shapes.scenes import VOCABULARY

NAMES = sorted(path.stem for path in (PROJECT / 'configs').glob('*.py'))
EXACT = ('ExactResumeHook', 'ResumableEpochTrainLoop', 'ResumableSampler')


@pytest.fixture(params=NAMES)
def config(request, few_shapes, tmp_path, monkeypatch) -> Config:
    """A config as the tools read it."""
    monkeypatch.setenv('SHAPES_ROOT', str(few_shapes))
    path = PROJECT / 'configs' / f'{request.param}.py'
    config = load_config(str(path), work_dir=str(tmp_path))
    config.experiment_name = tmp_path.name
    config.train_dataloader.update(batch_size=2)
    if request.param == 'fvit':
        config.model.init_cfg = None
        config.model.test_cfg.rcnn.score_thr = 0.0  # nothing is certain yet
    return config


def test_a_step_and_a_test(config):
    runner = Runner.from_cfg(config)
    loader = runner.build_dataloader(config.train_dataloader)
    wrapper = runner.build_optim_wrapper(config.optim_wrapper)
    runner.model.init_weights()
    logs = runner.model.train_step(next(iter(loader)), wrapper)
    expected = {f'loss_{name}' for name in config.model.get('heads', ())}
    assert expected | {'loss'} <= set(logs)
    assert all(torch.isfinite(value).all() for value in logs.values())
    metrics = runner.test()
    assert any(key.endswith(('novel_top1', 'novel_ap50')) for key in metrics)


def test_classes_are_the_same_everywhere(config):
    vocabulary = load_vocabulary(VOCABULARY)
    init_default_scope(config.default_scope)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    groups = vocabulary.groups
    assert tuple(dataset.metainfo['classes']) == vocabulary.classes
    assert tuple(dataset.metainfo['base_classes']) == groups['base']
    assert tuple(dataset.metainfo['novel_classes']) == groups['novel']


def test_resume_is_exact(config, harmoclip_scope):
    """Small enough to be killed and resumed by anyone."""
    if 'heads' not in config.model:
        pytest.skip('mmdet resumes it')
    found = (
        config.default_hooks.exact_resume.type,
        config.train_cfg.type,
        config.train_dataloader.sampler.type,
    )
    assert found == EXACT
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    assert not find_inexact(LOOPS.get(config.train_cfg.type), loader)
    assert config.auto_scale_lr.base_batch_size == 64
