"""Default runtime and exact resume in the configs that are shipped."""

import shutil
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from harmoclip_mm.apis import load_config
from harmoclip_mm.engine.exact_resume import find_inexact
from harmoclip_mm.registry import LOOPS

REPOSITORY = Path(__file__).resolve().parents[2]
TRAININGS = [
    path
    for folder in ('configs', 'projects')
    for path in sorted((REPOSITORY / folder).rglob('*.py'))
    if 'configs' in path.parts
    and not {'_base_', 'evaluation'} & set(path.parts)
]
EXACT = ('ExactResumeHook', 'ResumableEpochTrainLoop', 'ResumableSampler')


def parts(config):
    """Types of the hook, the loop and the sampler that resume exactly."""
    hook = config.default_hooks.get('exact_resume')
    return (
        hook and hook.type,
        config.train_cfg.type,
        config.train_dataloader.sampler.type,
    )


@pytest.fixture
def shapes_root(tiny_data, monkeypatch):
    """Where the configs of drawn data find a line to train on."""
    lines = [tiny_data.grounding('a.png', 'a dog')]
    target = tiny_data.root / 'annotations' / 'train_odvg.jsonl'
    target.parent.mkdir()
    shutil.copy(tiny_data.root / tiny_data.jsonl(*lines), target)
    monkeypatch.setenv('SHAPES_ROOT', str(tiny_data.root))


@pytest.mark.parametrize('path', TRAININGS, ids=lambda path: path.stem)
def test_exact_resume_is_whole_or_absent(path, shapes_root, harmoclip_scope):
    config = Config.fromfile(path)
    promised = config.default_hooks.get('exact_resume')
    assert promised or not set(parts(config)) & set(EXACT)
    if promised:
        config = load_config(str(path))
        loader = Runner.build_dataloader(config.train_dataloader, seed=0)
        assert not find_inexact(LOOPS.get(config.train_cfg.type), loader)
    # whoever trains: whole checkpoints, and a NaN stops
    types = {
        hook.type.split('.')[-1] for hook in config.default_hooks.values()
    }
    own = {'AtomicCheckpointHook', 'InvalidLossHook'}
    assert own <= types or path.parent.name == 'detection'


def test_some_configs_promise_it():
    """Those that are small enough to be killed and resumed by anyone."""
    promised = [
        path
        for path in TRAININGS
        if 'exact_resume' in Config.fromfile(path).default_hooks
    ]
    assert len(promised) >= 5


def test_any_config_gets_it_by_three_options():
    options = dict(
        zip(
            (
                'default_hooks.exact_resume.type',
                'train_cfg.type',
                'train_dataloader.sampler.type',
            ),
            EXACT,
        )
    )
    path = REPOSITORY / 'configs' / 'harmoclip_vitb16_coco.py'
    assert parts(load_config(str(path), options)) == EXACT
