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
# Small enough to be killed and resumed by anyone; they say exact_resume.
PROMISED = {
    'harmoclip_tiny_shapes',
    'harmoclip_tiny_shapes_finetune',
    *(
        f'{method}_tiny_shapes'
        for method in ('clip', 'clipself', 'fineclip', 'regionclip', 'siglip')
    ),
}


def parts(config):
    """Types of the hook, the loop and the sampler that resume exactly."""
    hook = config.default_hooks.get('exact_resume')
    return (
        hook and hook.type,
        config.train_cfg.type,
        config.train_dataloader.sampler.type,
    )


@pytest.mark.parametrize('path', TRAININGS, ids=lambda path: path.stem)
def test_exact_resume_is_whole_or_absent(path):
    config = Config.fromfile(path)
    found = parts(config)
    assert found == EXACT or not set(found) & set(EXACT)
    assert (found == EXACT) == (path.stem in PROMISED)
    # whoever trains: whole checkpoints, and a NaN stops
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
