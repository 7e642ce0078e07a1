"""Default runtime and exact resume in the configs that are shipped."""

from pathlib import Path

import pytest
from mmengine.config import Config

from harmoclip_mm.apis import load_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TRAININGS = [
    path
    for path in sorted(CONFIGS.rglob('*.py'))
    if not {'_base_', 'evaluation'} & set(path.parts)
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


@pytest.mark.parametrize('path', TRAININGS, ids=lambda path: path.stem)
def test_default_runtime(path):
    """Nothing of the exact resume; whole checkpoints, and a NaN stops."""
    config = Config.fromfile(path)
    assert not set(parts(config)) & set(EXACT)
    types = {
        hook.type.split('.')[-1] for hook in config.default_hooks.values()
    }
    own = {'AtomicCheckpointHook', 'InvalidLossHook'}
    assert own <= types or path.parent.name == 'detection'


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
    path = CONFIGS / 'harmoclip_vitb16_coco.py'
    assert parts(load_config(str(path), options)) == EXACT
